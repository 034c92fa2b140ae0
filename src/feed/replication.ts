import type { KeyPair } from '../crypto/keys.ts'
import { argumentTypeError, DDatabaseError } from '../errors.ts'
import { seek } from '../merkle/seek.ts'
import type { Claim } from '../merkle/verify.ts'
import { ExtensionRegistry } from '../replication/extensions.ts'
import { isForeign, requireAuthenticated } from '../replication/foreign-stream.ts'
import type { Guard } from '../replication/guard.ts'
import type { Peer, PeerOptions } from '../replication/peer.ts'
import { RateLimit } from '../replication/rate-limit.ts'
import { checkReplicateOptions, Replicator } from '../replication/replicator.ts'
import type {
  ReplicatedContent,
  ReplicationSource,
  TransferStats,
  Wanted,
  Wish
} from '../replication/source.ts'
import { ProtocolStream } from '../replication/stream.ts'
import { checkHandlers, type ProtocolHandlers } from '../replication/stream-options.ts'
import type { BitPages } from '../util/bit-pages.ts'
import { isGiven } from '../util/given.ts'
import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'
import type { Belief } from './growth.ts'
import { createProof, createProofSync } from './proofs.ts'
import type { PutOutcome } from './putting.ts'
import { readBlock, readBlocks, readInto, runEnd } from './reader.ts'
import type { Selections } from './selections.ts'
import type { Waiters } from './waiters.ts'

/**
 * Options of `replicate` (spec API §8.1); those of the stream count when a new one is made, and `requireAuthenticated` always.
 */
export interface ReplicateOptions extends PeerOptions, ProtocolHandlers {
  /** Which side this is, if that is not the first argument. */
  initiator?: boolean | undefined
  /** Replicate on this stream instead of a new one. */
  stream?: ProtocolStream | null | undefined
  /** Only `ddatabase/hypercore`: may refuse this feed on a stream, after the handshake. */
  onfeedauthenticate?:
    | ((feed: unknown, remotePublicKey: Uint8Array | null, done: (error?: unknown) => void) => void)
    | undefined
  /** Source of the places where downloads start, 0 … 1. Only to repeat a recorded session. */
  random?: (() => number) | undefined
}

/** What replication needs of the feed beside its content. */
export interface ReplicationHost {
  readonly owner: object
  readonly sparse: boolean
  readonly downloading: boolean
  readonly uploading: boolean
  readonly allowPush: boolean
  readonly maxRequests: number
  readonly stats: TransferStats | null
  readonly ifAvailable: Guard
  readonly waiters: Waiters
  readonly selections: Selections
  /** The open feed; null before opening. */
  readonly core: Core | null
  readonly key: Uint8Array | null
  readonly noiseKeyPair: KeyPair
  readonly Protocol: typeof ProtocolStream
  /** Whether `replicating` is emitted for each call, or when a peer is attached. */
  readonly tellsEachCall: boolean
  /** Resolves when the feed is open. */
  ready(): Promise<unknown>
  readonly usable: boolean
  /** Whether functions of the application's see what is stored. */
  readonly hooked: boolean
  /** Whether blocks are appended here. */
  readonly writable: boolean
  put(claims: readonly Claim[], peer: Peer, belief: Belief): Promise<PutOutcome>
  /** Compares a proof with what is here; see `ReplicatedContent`. */
  examine(claim: Claim, remoteLength: number): Promise<number>
  /** A peer has a history of `length` blocks that continues ours. */
  longerSeen(length: number): Promise<void>
  /** Resolves when the appends under way are answered; null if there are none. */
  appending(): Promise<void> | null
  downloadEverything(): void
  /** Peers can help less than before. */
  lessAvailable(): void
  emit(event: string, ...values: unknown[]): void
  listens(event: string): boolean
}

/** The networked side of a feed: its peers, its extensions, and what they may know of it. */
export class FeedReplication implements ReplicationSource {
  readonly replicator: Replicator
  readonly extensions: ExtensionRegistry<Peer>
  readonly uploadLimit = new RateLimit()
  readonly downloadLimit = new RateLimit()
  private readonly host: ReplicationHost
  private opened: ReplicatedContent | null = null

  constructor(host: ReplicationHost) {
    this.host = host
    this.replicator = new Replicator(this)
    const { peers } = this.replicator
    this.extensions = new ExtensionRegistry<Peer>({
      onextensionupdate: () => this.replicator.sendOptions(),
      sendExtension: (id, message, peer) =>
        typeof peer?.extension === 'function' && peer.extension(id, message),
      broadcastExtension: (id, message) => {
        for (const peer of peers) peer.extension(id, message)
        return peers.length > 0
      },
      remoteSupportsExtension: (name) => peers.some((peer) => peer.remoteExtensions.has(name))
    })
  }

  /** Adds the feed to a stream, a new one unless one is given (spec API §8.1). */
  replicate(
    initiator: boolean | ProtocolStream | ReplicateOptions | undefined,
    options: ReplicateOptions | undefined
  ): ProtocolStream {
    const { host } = this
    let settings: ReplicateOptions = options ?? {}
    let given: unknown = initiator
    if (options === undefined && isOptions(initiator)) {
      settings = initiator
      given = initiator.initiator
    }
    checkReplicateOptions({ ...settings })
    checkHandlers(settings)
    const stream = this.streamFor(given, settings)
    // A stream that others use is not ours to destroy.
    const refuse = (error: Error): void => {
      if (stream === given || stream === settings.stream) this.refuseOn(stream)
      else stream.destroy(error)
    }
    this.wantEverything(settings)
    if (settings.random) this.replicator.random = settings.random

    host.ifAvailable.wait()
    if (host.usable) {
      this.join(stream, settings, refuse)
      host.ifAvailable.continue()
    } else {
      const { discoveryKey } = this
      const done = discoveryKey === null || isForeign(stream) ? null : stream.expect(discoveryKey)
      host
        .ready()
        .then(() => this.join(stream, settings, refuse), refuse)
        .finally(() => {
          done?.()
          host.ifAvailable.continue()
        })
    }
    if (host.tellsEachCall) host.emit('replicating', stream)
    return stream
  }

  /** What is not sparse and not live is there to be downloaded as a whole. */
  private wantEverything(settings: ReplicateOptions): void {
    const { host } = this
    if (!host.sparse && !settings.live && !host.selections.hasWhole) host.downloadEverything()
  }

  /** The feed is not to be had on this stream. */
  private refuseOn(stream: ProtocolStream): void {
    const { discoveryKey } = this
    const { key } = this.host
    // Somebody else may have it open there.
    if (key === null || discoveryKey === null || stream.destroying || stream.opened(key)) return
    stream.close(discoveryKey)
  }

  private streamFor(given: unknown, settings: ReplicateOptions): ProtocolStream {
    const existing = ProtocolStream.isProtocolStream(given) ? given : (settings.stream ?? null)
    if (existing !== null) {
      if (!ProtocolStream.isProtocolStream(existing))
        throw argumentTypeError('stream should be a protocol stream')
      for (const name of ['maxUploadRate', 'maxDownloadRate'] as const) {
        const rate = settings[name]
        if (isGiven(rate) && !isForeign(existing)) existing[name] = rate
      }
      if (settings.requireAuthenticated) requireAuthenticated(existing)
      return existing
    }
    if (typeof given !== 'boolean')
      throw argumentTypeError('Must specify initiator boolean in replication stream')
    return new this.host.Protocol(given, { ...settings, keyPair: settings.keyPair ?? this.host.noiseKeyPair })
  }

  private join(stream: ProtocolStream, settings: ReplicateOptions, refuse: (error: Error) => void): void {
    const { onfeedauthenticate } = settings
    if (this.host.tellsEachCall || !onfeedauthenticate || !stream.noise) {
      this.attach(stream, settings, refuse)
      return
    }
    const ask = (): void => {
      let answered = false
      const done = (error?: unknown): void => {
        if (answered) return
        answered = true
        if (error) this.refuseOn(stream)
        else this.attach(stream, settings, refuse)
      }
      try {
        onfeedauthenticate(this.host.owner, stream.remotePublicKey, done)
      } catch (error) {
        done(error)
      }
    }
    if (stream.remotePublicKey !== null) ask()
    else onHandshake(stream, ask)
  }

  private attach(stream: ProtocolStream, settings: ReplicateOptions, refuse: (error: Error) => void): void {
    const { host } = this
    const { discoveryKey } = this
    if (!host.usable) {
      refuse(new DDatabaseError('ERR_FEED_CLOSED'))
      return
    }
    if (host.key === null || discoveryKey === null) {
      refuse(new DDatabaseError('ERR_KEY_MISSING', { message: 'A static feed has no key before finalize' }))
      return
    }
    const peer = this.replicator.attach(stream, host.key, discoveryKey, settings)
    if (peer === null) return
    // What was downloaded meanwhile was all that the peers of before had.
    this.wantEverything(settings)
    if (!host.tellsEachCall) host.emit('replicating', stream)
  }

  private get discoveryKey(): Uint8Array | null {
    return (this.host.owner as { discoveryKey: Uint8Array | null }).discoveryKey
  }

  // ---- what peers see ----

  get owner(): unknown {
    return this.host.owner
  }
  get sparse(): boolean {
    return this.host.sparse
  }
  get downloading(): boolean {
    return this.host.downloading
  }
  get uploading(): boolean {
    return this.host.uploading
  }
  get allowPush(): boolean {
    return this.host.allowPush
  }
  get maxRequests(): number {
    return this.host.maxRequests
  }
  get stats(): TransferStats | null {
    return this.host.stats
  }
  get ifAvailable(): Guard {
    return this.host.ifAvailable
  }

  get content(): ReplicatedContent {
    this.opened ??= contentOf(this.host.core!, this.host)
    return this.opened
  }

  get writable(): boolean {
    return this.host.writable
  }

  longerSeen(length: number): Promise<void> {
    return this.host.longerSeen(length)
  }

  settling(): Promise<void> | null {
    const appending = this.host.appending()
    // A hook or a signer may take its time; nobody has to wait for that.
    return appending === null ? null : Promise.race([appending, nextTurn()])
  }

  otherWishes(): Iterable<Wish> {
    return this.host.waiters.otherWishes()
  }

  wishedBlocks(): Iterable<number> {
    return this.host.waiters.wishedBlocks()
  }

  isWished(index: number): boolean {
    return this.host.waiters.isWished(index)
  }

  downloads(): Iterable<Wanted> {
    return this.host.selections
  }

  endDownloads(length: number): void {
    this.host.selections.endAt(this.host.core!, length)
  }

  downloadsWithin(length: number): boolean {
    return this.host.selections.areWithin(this.host.core!, length)
  }

  reopenDownloads(): void {
    this.host.selections.reopen()
  }

  get cleared(): BitPages | null {
    return this.host.selections.cleared
  }

  forgetCleared(): void {
    this.host.selections.forgetCleared(this.host.core!)
  }

  get anyDownloads(): boolean {
    return this.host.selections.length > 0
  }

  lessAvailable(): void {
    this.host.lessAvailable()
  }

  emit(event: string, ...values: unknown[]): void {
    this.host.emit(event, ...values)
  }

  listens(event: string): boolean {
    return this.host.listens(event)
  }
}

// Any number of feeds may wait on one stream.
const waitingForHandshake = new WeakMap<ProtocolStream, (() => void)[]>()

function onHandshake(stream: ProtocolStream, fn: () => void): void {
  const waiting = waitingForHandshake.get(stream)
  if (waiting !== undefined) {
    waiting.push(fn)
    return
  }
  const list = [fn]
  waitingForHandshake.set(stream, list)
  stream.once('handshake', () => {
    waitingForHandshake.delete(stream)
    for (const one of list) one()
  })
}

function contentOf(core: Core, host: ReplicationHost): ReplicatedContent {
  const { tree } = core.storage
  // Two histories are known, or blocks are appended here, which would sign them both, or it could not be remembered.
  const believes = (): boolean => core.forks.length === 0 && !host.writable && !core.unlinked.isFull
  return {
    get length() {
      return core.length
    },
    bits: core.bits,
    pages: core.pages,
    tree: core.tree,
    get roots() {
      return core.roots
    },
    get live() {
      return core.live
    },
    proof: (index, options) => createProof(core, index, options, true),
    proofSync: (index, options) => createProofSync(core, index, options, true),
    block: (index) => readBlock(core, index),
    run: async (start, end, bytes) => {
      try {
        return await readBlocks(core, start, await runEnd(core, start, end, bytes))
      } catch {
        // Which one cannot be read is found out when they are read one by one.
        return null
      }
    },
    keepsNothing: core.storage.data.keepsNothing && core.storage.blocks === null && !host.hooked,
    runInto: (start, end, target, offer) => readInto(core, start, end, target, offer),
    async seek(bytes) {
      const read = async (index: number) => tree.getSync(index) ?? tree.require(index)
      const found = await seek(bytes, core.length, core.tree, read).catch(() => null)
      return found === null || found.treeIndex % 2 === 1 ? null : found.treeIndex / 2
    },
    put: (claims, peer, anyGrowth = false) =>
      host.put(claims, peer, { longer: anyGrowth && believes(), shorter: believes() }),
    examine: (claim, remoteLength) => host.examine(claim, remoteLength),
    get unlinked() {
      return core.unlinked.list
    },
    get believes() {
      return believes()
    }
  }
}

function isOptions(value: unknown): value is ReplicateOptions & { initiator: boolean } {
  if (typeof value !== 'object' || value === null || ProtocolStream.isProtocolStream(value)) return false
  return typeof (value as ReplicateOptions).initiator === 'boolean'
}
