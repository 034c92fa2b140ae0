/** What both entry points export beside their own callable and their `Feed` class. */

export type { KeyPair } from './crypto/keys.ts'
export type { Dialect } from './dialect.ts'
export { type ArgumentErrorCode, type Damage, DDatabaseError, type ErrorCode } from './errors.ts'
export type { AuditReport } from './feed/audit.ts'
export {
  type AnyEncoding,
  type Appendable,
  type ChosenEncoding,
  type Codec,
  type DecodedAs,
  type EncodedValue,
  type EncodingName,
  type JsonEncodingName,
  MAX_BLOCK_SIZE,
  type TextEncodingName,
  type ValueEncoding
} from './feed/encoding.ts'
export type { FeedEvents } from './feed/events.ts'
export type {
  FeedConstructor,
  FeedFactory,
  FeedStatics,
  FeedValue,
  TypedFeedOptions
} from './feed/factory.ts'
export type { SeekOptions, SeekPosition, UpdateOptions, WaitOptions } from './feed/finder.ts'
export type { AuditOptions, AuditProgress, FullAuditReport } from './feed/full-audit.ts'
export type { ClearOptions } from './feed/maintenance.ts'
export type {
  AvailabilityTimeouts,
  CryptoHooks,
  FeedOptions,
  Key,
  Storage,
  WriteHook
} from './feed/options.ts'
export type { DownloadProgress } from './feed/progress.ts'
export type { ProofOptions } from './feed/proofs.ts'
export type { GetOptions, HeadOptions, SeekCallback } from './feed/reading.ts'
export type { Recovery } from './feed/recovered.ts'
export type { ReplicateOptions } from './feed/replication.ts'
export type { DownloadRange, Selection } from './feed/selections.ts'
export type { ReadStreamOptions } from './feed/sequence.ts'
export type { ReadStream, ReadStreamEvents, WriteStream, WriteStreamOptions } from './feed/streams.ts'
export type { VerifyMode } from './feed/verified.ts'
export type { AppendOptions } from './feed/writing.ts'
export { type ForkProof, type SignedHead, verifyFork } from './merkle/fork.ts'
export type { TreeNode } from './merkle/node.ts'
export type { Proof } from './merkle/verify.ts'
export type { Channel, ChannelHandlers } from './replication/channel.ts'
export type { Extension, ExtensionHandlers, ExtensionRegistry } from './replication/extensions.ts'
export { Guard } from './replication/guard.ts'
export type { KeyPairSource } from './replication/handshake.ts'
export type { ReplicationLimits } from './replication/limits.ts'
export type {
  CancelMessage,
  DataMessage,
  HaveMessage,
  OptionsMessage,
  RangeMessage,
  RequestMessage,
  StatusMessage
} from './replication/messages.ts'
export type { Peer, PeerOptions } from './replication/peer.ts'
export type { TransferStats } from './replication/source.ts'
export type { ProtocolHandlers, ProtocolStreamEvents } from './replication/stream-options.ts'
export type { CacheOptions, ExternalCache } from './storage/caches.ts'
export type { DurabilityMode } from './storage/durability.ts'
export { directoryStorage } from './storage/named.ts'
export { type OriginPrivateStorageOptions, originPrivateStorage } from './storage/opfs/storage.ts'
export type { StorageWorker } from './storage/opfs/web.ts'
export type { RandomAccess, StorageCallback, StorageFactory } from './storage/random-access.ts'
export type { StoredSignature } from './storage/signatures-file.ts'
export type { Callback } from './util/callback.ts'
export type { Emitter, EventMap } from './util/emitter.ts'
