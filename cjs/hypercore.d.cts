// Types of `require('ddatabase/hypercore')`: the callable with the named exports as its properties.
// The namespace repeats every exported type of dist/hypercore.d.ts (test/package compares the two lists). It must
// hold nothing but type aliases: any other declaration would make it a second value of the same name.
import type * as api from '../dist/hypercore.js' with { 'resolution-mode': 'import' }

declare const hypercore: typeof api.hypercore & typeof api

declare namespace hypercore {
  type ArgumentErrorCode = api.ArgumentErrorCode
  type AuditReport = api.AuditReport
  type AvailabilityTimeouts = api.AvailabilityTimeouts
  type CacheOptions = api.CacheOptions
  type Callback<T = void> = api.Callback<T>
  type Channel = api.Channel
  type ChannelHandlers = api.ChannelHandlers
  type ClearOptions = api.ClearOptions
  type Codec<T = unknown> = api.Codec<T>
  type CryptoHooks = api.CryptoHooks
  type DDatabaseError = api.DDatabaseError
  type Dialect = api.Dialect
  type DownloadRange = api.DownloadRange
  type EncodingName = api.EncodingName
  type ErrorCode = api.ErrorCode
  type Extension<Message = unknown, Peer = unknown> = api.Extension<Message, Peer>
  type ExtensionHandlers<Message = unknown, Peer = unknown> = api.ExtensionHandlers<Message, Peer>
  type ExtensionRegistry<Peer> = api.ExtensionRegistry<Peer>
  type ExternalCache = api.ExternalCache
  type Feed<T = Uint8Array> = api.Feed<T>
  type FeedFactory = api.FeedFactory
  type FeedOptions<T = Uint8Array> = api.FeedOptions<T>
  type GetOptions = api.GetOptions
  type Guard = api.Guard
  type HeadOptions = api.HeadOptions
  type HypercoreFactory = api.HypercoreFactory
  type Key = api.Key
  type KeyPair = api.KeyPair
  type Peer = api.Peer
  type PeerOptions = api.PeerOptions
  type Proof = api.Proof
  type ProofOptions = api.ProofOptions
  type ProtocolHandlers = api.ProtocolHandlers
  type ProtocolStream = api.ProtocolStream
  type ProtocolStreamEvents = api.ProtocolStreamEvents
  type RandomAccess = api.RandomAccess
  type ReadStream = api.ReadStream
  type ReadStreamOptions = api.ReadStreamOptions
  type ReplicateOptions = api.ReplicateOptions
  type ReplicationLimits = api.ReplicationLimits
  type SeekCallback = api.SeekCallback
  type SeekOptions = api.SeekOptions
  type SeekPosition = api.SeekPosition
  type Selection = api.Selection
  type Storage = api.Storage
  type StorageFactory = api.StorageFactory
  type StoredSignature = api.StoredSignature
  type TransferStats = api.TransferStats
  type TreeNode = api.TreeNode
  type UpdateOptions = api.UpdateOptions
  type WaitOptions = api.WaitOptions
  type WriteHook = api.WriteHook
  type WriteStream = api.WriteStream
  type WriteStreamOptions = api.WriteStreamOptions
}

export = hypercore
