// Types of `require('ddatabase/hypercore')`: the callable with the named exports as its properties.
// The namespace repeats every exported type of dist/hypercore.d.ts (test/package compares the two lists). It must
// hold nothing but type aliases: any other declaration would make it a second value of the same name.
import type * as api from '../dist/hypercore.js' with { 'resolution-mode': 'import' }

type Exports = typeof api
// Not an intersection: `import * as` has only what is declared in one place.
interface Callable extends Exports, api.HypercoreFactory {}
declare const hypercore: Callable

declare namespace hypercore {
  type AnyEncoding = api.AnyEncoding
  type AppendOptions = api.AppendOptions
  type Appendable<T> = api.Appendable<T>
  type ArgumentErrorCode = api.ArgumentErrorCode
  type AuditOptions = api.AuditOptions
  type AuditProgress = api.AuditProgress
  type AuditReport = api.AuditReport
  type AvailabilityTimeouts = api.AvailabilityTimeouts
  type CacheOptions = api.CacheOptions
  type Callback<T = void> = api.Callback<T>
  type CancelMessage = api.CancelMessage
  type Channel = api.Channel
  type ChannelHandlers = api.ChannelHandlers
  type ChosenEncoding = api.ChosenEncoding
  type ClearOptions = api.ClearOptions
  type Codec<T = unknown> = api.Codec<T>
  type CryptoHooks = api.CryptoHooks
  type DDatabaseError = api.DDatabaseError
  type Damage = api.Damage
  type DataMessage = api.DataMessage
  type DecodedAs<E, T> = api.DecodedAs<E, T>
  type Dialect = api.Dialect
  type DownloadProgress = api.DownloadProgress
  type DownloadRange = api.DownloadRange
  type DurabilityMode = api.DurabilityMode
  type Emitter<Events extends EventMap<Events>> = api.Emitter<Events>
  type EncodedValue<E> = api.EncodedValue<E>
  type EncodingName = api.EncodingName
  type ErrorCode = api.ErrorCode
  type EventMap<Events> = api.EventMap<Events>
  type Extension<Message = unknown, Peer = unknown> = api.Extension<Message, Peer>
  type ExtensionHandlers<Message = unknown, Peer = unknown> = api.ExtensionHandlers<Message, Peer>
  type ExtensionRegistry<Peer = unknown> = api.ExtensionRegistry<Peer>
  type ExternalCache = api.ExternalCache
  type Feed<T = Uint8Array> = api.Feed<T>
  type FeedConstructor = api.FeedConstructor
  type FeedEvents = api.FeedEvents
  type FeedFactory = api.FeedFactory
  type FeedOptions<T = Uint8Array> = api.FeedOptions<T>
  type FeedStatics = api.FeedStatics
  type FeedValue<T, E> = api.FeedValue<T, E>
  type FullAuditReport = api.FullAuditReport
  type ForkProof = api.ForkProof
  type GetOptions<E = undefined> = api.GetOptions<E>
  type Guard = api.Guard
  type HaveMessage = api.HaveMessage
  type HeadOptions<E = undefined> = api.HeadOptions<E>
  type HypercoreConstructor = api.HypercoreConstructor
  type HypercoreFactory = api.HypercoreFactory
  type JsonEncodingName = api.JsonEncodingName
  type Key = api.Key
  type KeyPair = api.KeyPair
  type KeyPairSource = api.KeyPairSource
  type OptionsMessage = api.OptionsMessage
  type OriginPrivateStorageOptions = api.OriginPrivateStorageOptions
  type Peer = api.Peer
  type PeerOptions = api.PeerOptions
  type Proof = api.Proof
  type ProofOptions = api.ProofOptions
  type ProtocolHandlers = api.ProtocolHandlers
  type ProtocolStream = api.ProtocolStream
  type ProtocolStreamEvents = api.ProtocolStreamEvents
  type RandomAccess = api.RandomAccess
  type RangeMessage = api.RangeMessage
  type ReadStream<T = Uint8Array> = api.ReadStream<T>
  type ReadStreamEvents<T> = api.ReadStreamEvents<T>
  type ReadStreamOptions<E = undefined> = api.ReadStreamOptions<E>
  type Recovery = api.Recovery
  type ReplicateOptions = api.ReplicateOptions
  type ReplicationLimits = api.ReplicationLimits
  type RequestMessage = api.RequestMessage
  type SeekCallback = api.SeekCallback
  type SeekOptions = api.SeekOptions
  type SeekPosition = api.SeekPosition
  type Selection = api.Selection
  type StatusMessage = api.StatusMessage
  type SignedHead = api.SignedHead
  type Storage = api.Storage
  type StorageCallback<T = void> = api.StorageCallback<T>
  type StorageFactory = api.StorageFactory
  type StorageWorker = api.StorageWorker
  type StoredSignature = api.StoredSignature
  type TextEncodingName = api.TextEncodingName
  type TransferStats = api.TransferStats
  type TreeNode = api.TreeNode
  type TypedFeedOptions<T, E> = api.TypedFeedOptions<T, E>
  type UpdateOptions = api.UpdateOptions
  type ValueEncoding<T = unknown> = api.ValueEncoding<T>
  type VerifyMode = api.VerifyMode
  type WaitOptions = api.WaitOptions
  type WriteHook = api.WriteHook
  type WriteStream<V = Uint8Array | string> = api.WriteStream<V>
  type WriteStreamOptions = api.WriteStreamOptions
}

export = hypercore
