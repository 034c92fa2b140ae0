/** What both entry points export beside their own callable and their `Feed` class. */

export type { KeyPair } from './crypto/keys.ts'
export type { Dialect } from './dialect.ts'
export { type ArgumentErrorCode, DDatabaseError, type ErrorCode } from './errors.ts'
export { type Codec, type EncodingName, MAX_BLOCK_SIZE } from './feed/encoding.ts'
export type { FeedFactory } from './feed/factory.ts'
export type { SeekOptions, SeekPosition, UpdateOptions, WaitOptions } from './feed/finder.ts'
export type { AuditReport, ClearOptions } from './feed/maintenance.ts'
export type {
  AvailabilityTimeouts,
  CryptoHooks,
  FeedOptions,
  Key,
  Storage,
  WriteHook
} from './feed/options.ts'
export type { ProofOptions } from './feed/proofs.ts'
export type { GetOptions, HeadOptions, SeekCallback } from './feed/reading.ts'
export type { ReplicateOptions } from './feed/replication.ts'
export type { DownloadRange, Selection } from './feed/selections.ts'
export type { ReadStream, ReadStreamOptions, WriteStream, WriteStreamOptions } from './feed/streams.ts'
export type { TreeNode } from './merkle/node.ts'
export type { Proof } from './merkle/verify.ts'
export type { Channel, ChannelHandlers } from './replication/channel.ts'
export type { Extension, ExtensionHandlers, ExtensionRegistry } from './replication/extensions.ts'
export { Guard } from './replication/guard.ts'
export type { ReplicationLimits } from './replication/limits.ts'
export type { Peer, PeerOptions } from './replication/peer.ts'
export type { TransferStats } from './replication/source.ts'
export type { ProtocolHandlers, ProtocolStreamEvents } from './replication/stream-options.ts'
export type { CacheOptions, ExternalCache } from './storage/caches.ts'
export { directoryStorage } from './storage/directory.ts'
export type { RandomAccess, StorageFactory } from './storage/random-access.ts'
export type { StoredSignature } from './storage/signatures-file.ts'
export type { Callback } from './util/callback.ts'
