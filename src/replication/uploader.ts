import { DDatabaseError, type ErrorCode } from '../errors.ts'
import { MemoryBits, TreeSet } from '../merkle/tree-set.ts'
import { nextTurn, turnIsOver } from '../util/turn.ts'
import { isForeign } from './foreign-stream.ts'
import type { RequestMessage } from './messages.ts'
import { NodesBefore } from './nodes-before.ts'
import type { Peer } from './peer.ts'
import { answerSize, UploadMeter } from './rate-limit.ts'
import { BATCH_BYTES, ReadAhead, type ReadRun } from './read-ahead.ts'
import type { UnverifiedRun } from './source.ts'

// Most blocks that are read together.
const RUN_BLOCKS = 256

// Answers of one run after which the clock is looked at.
const ANSWERS_PER_LOOK = 8

// Larger blocks are not sent to who has not asked for them.
const MOST_PUSHED = 64 * 1024

/**
 * Answers the requests of one peer, in order, and not faster than the remote reads. Neighbours that are asked for one after the
 * other are read together.
 *
 * A request for what we never had is ignored: an honest peer that is behind sends those (spec WIRE quirk 6); too many
 * end the connection. A block that was cleared, or cannot be read, is answered with Unhave and its hash (quirk 7).
 */
export class Uploader {
  private readonly peer: Peer
  private readonly queue: RequestMessage[] = []
  // What the remote has, as far as its digests tell (spec WIRE §9.3, the set R).
  private remoteTree = new TreeSet(new MemoryBits())
  private running = false
  private readonly ahead: ReadAhead
  private useless = 0
  private lastBytes = -1
  private readonly meter: UploadMeter

  constructor(peer: Peer) {
    this.peer = peer
    this.ahead = new ReadAhead({
      nextRun: (from) => this.nextRun(from),
      runInto: (start, end, target, offer) => this.readInto(start, end, target, offer)
    })
    this.meter = new UploadMeter(() => peer.uploadLimits)
  }

  /** A request arrived. */
  request(request: RequestMessage): void {
    if (this.queue.length >= this.peer.limits.queuedRequests) {
      throw new DDatabaseError('ERR_LIMIT', { message: 'Too many requests are waiting for an answer' })
    }
    this.queue.push(request)
    this.resume()
  }

  /** The remote does not want these any more; what has left already arrives all the same. */
  cancel(index: number, bytes: number, hash: boolean): void {
    for (let i = this.queue.length - 1; i >= 0; i--) {
      const request = this.queue[i]!
      if (request.index === index && request.bytes === bytes && request.hash === hash) this.queue.splice(i, 1)
    }
  }

  /**
   * Sends a block that has just come to a remote that follows (docs/protocol.md, "Following").
   * @returns false if it has to be announced instead: who has not got all before it could not verify it
   */
  push(index: number): boolean {
    const { peer } = this
    const { content } = peer.source
    const isNext = index + 1 === content.length && peer.remoteLength === index
    if (!isNext || this.running || !peer.uploading || !peer.remoteDownloading || peer.backedUp) return false
    if (!peer.authenticated || peer.check.isRefused) return false
    this.running = true
    this.sendNew(index)
      .catch((error) => peer.destroy(error))
      .finally(() => {
        this.running = false
        // What was asked for meanwhile.
        if (this.queue.length > 0) this.resume()
      })
    return true
  }

  private async sendNew(index: number): Promise<void> {
    const { peer } = this
    const { content } = peer.source
    const value = await content.block(index).catch(() => null)
    const digest = new TreeSet(new NodesBefore(content.tree, index)).digest(2 * index)
    // The remote has not said so: it may be wrong, and then nothing that is asked for may suffer from it.
    const options = { digest, hash: false, tree: undefined }
    const proof = await content.proof(index, options).catch(unprovenBy)
    if (value === null || value.length > MOST_PUSHED || typeof proof === 'string') {
      if (!peer.closed) peer.have({ start: index })
      return
    }
    const paused = this.meter.pass(answerSize(value, proof.nodes))
    if (paused !== null) await paused
    if (peer.uploading && !peer.closed) peer.sendBlock(index, value, proof)
  }

  /** Goes on after the output was backed up. */
  resume(): void {
    if (this.running) return
    this.running = true
    // When the frames at hand have been worked on: what was asked for together can be read together.
    queueMicrotask(() => this.run().catch((error) => this.peer.destroy(error)))
  }

  /** Drops everything that waits. */
  stop(): void {
    this.queue.length = 0
    this.ahead.leave()
    this.meter.leave()
  }

  private async run(): Promise<void> {
    try {
      while (this.queue.length > 0 && !this.peer.backedUp) {
        const run = this.nextRun(0)
        if (run.length === 0 || !(await this.answerRun(run))) {
          // It may have been cancelled since.
          const request = this.queue.shift()
          if (request !== undefined) await this.answer(request)
        }
        // A socket may take all that is sent at once, and then nothing else would end this before the queue does.
        if (this.queue.length > 0 && turnIsOver()) await nextTurn()
      }
    } finally {
      if (this.queue.length === 0) this.ahead.leave()
      // In the same step as the last look at the queue: what comes later starts anew.
      this.running = false
    }
  }

  /** Requests from place `from` of the queue on for neighbours that are here. */
  private nextRun(from: number): RequestMessage[] {
    const { queue } = this
    const { bits } = this.peer.source.content
    const first = queue[from]
    let end = from
    while (first !== undefined && end < queue.length && end - from < RUN_BLOCKS) {
      const { index, bytes, hash } = queue[end]!
      if (index !== first.index + end - from || bytes > 0 || hash || !bits.get(index)) break
      end++
    }
    return queue.slice(from, end)
  }

  /** Answers some of these requests, which are at the front of the queue. @returns false if none could be answered that way */
  private async answerRun(run: readonly RequestMessage[]): Promise<boolean> {
    const { peer, queue } = this
    const { content } = peer.source
    if (peer.check.isRefused) return false
    const start = run[0]!.index
    const end = start + run.length
    const read = this.ahead.take(run)
    try {
      const values =
        read?.blocks.verified() ?? (run.length > 1 ? await content.run(start, end, BATCH_BYTES) : null)
      if (values === null) return queue.length === 0
      return await this.sendRun(run, values, read)
    } finally {
      if (read !== null) this.ahead.done(read)
    }
  }

  private async sendRun(
    run: readonly RequestMessage[],
    values: readonly Uint8Array[],
    read: ReadRun | null
  ): Promise<boolean> {
    const { peer, queue } = this
    const { content } = peer.source
    // There may be more values than requests: some were cancelled after the blocks had been read.
    for (let i = 0; i < Math.min(run.length, values.length); i++) {
      // What is left is read again in the next turn: until then the feed may have changed.
      if (i > 0 && i % ANSWERS_PER_LOOK === 0 && turnIsOver()) return true
      const value = values[i]!
      // It was cancelled meanwhile.
      if (queue[0] !== run[i]) continue
      const { index, nodes: digest } = queue.shift()!
      const options = { digest, hash: false, tree: this.treeFor(digest) }
      const proof =
        content.proofSync(index, options) ?? (await content.proof(index, options).catch(unprovenBy))
      const paused = typeof proof === 'string' ? null : this.meter.pass(answerSize(value, proof.nodes))
      if (paused !== null) await paused
      if (!peer.uploading || peer.closed) return true
      if (read !== null && peer.source.listens('upload')) read.memory.shown = true
      if (typeof proof === 'string') this.tellUnproven(index, proof)
      else peer.sendBlock(index, value, proof)
    }
    return true
  }

  /** Some of these blocks in memory that is used again; null if somebody else may get to see them, or it would need waiting. */
  private readInto(start: number, end: number, target: Uint8Array, offer: boolean): UnverifiedRun | null {
    const { source, stream } = this.peer
    if (source.listens('upload') || isForeign(stream.stream)) return null
    return source.content.runInto(start, end, target, offer)
  }

  /** What the remote has, as far as a request with this digest says. */
  private treeFor(digest: number): TreeSet {
    // Who can rely on its digests says by 0 that nothing of what it said before counts (docs/protocol.md).
    if (digest === 0 && this.peer.authenticated) this.remoteTree = new TreeSet(new MemoryBits())
    return this.remoteTree
  }

  private async answer(request: RequestMessage): Promise<void> {
    const { content } = this.peer.source
    let { index, nodes: digest } = request
    if (request.bytes > 0) {
      const found = await content.seek(request.bytes)
      if (found !== null) {
        // Published peers ask for the same place several times at once.
        if (this.lastBytes === request.bytes) return
        this.lastBytes = request.bytes
        index = found
        digest = 0
      }
    }
    // A block that was announced is answered in any case, also if its leaf is not known.
    if (!content.tree.get(2 * index) && !content.bits.get(index)) {
      this.useless++
      if (this.useless > this.peer.limits.uselessRequests) {
        throw new DDatabaseError('ERR_LIMIT', { message: 'Too many requests for blocks that do not exist' })
      }
      return
    }
    // Who asks for a hash and has nothing wants to compare: then nothing is left out, whatever was said before.
    const compares = request.hash && request.bytes === 0 && digest === 0
    if (this.peer.check.isRefused && !compares) return
    const present = content.bits.get(index)
    const value = request.hash || !present ? null : await content.block(index).catch(() => null)
    const hash = value === null
    const tree = compares ? undefined : this.treeFor(digest)
    const proof = await content.proof(index, { digest, hash, tree }).catch(unprovenBy)
    const paused = typeof proof === 'string' ? null : this.meter.pass(answerSize(value, proof.nodes))
    if (paused !== null) await paused
    if (!this.peer.uploading || this.peer.closed) return
    if (typeof proof === 'string') {
      this.tellUnproven(index, proof)
      return
    }
    if (value === null && !request.hash) this.peer.stream.unhave({ start: index })
    this.peer.sendBlock(index, value, proof)
    if (compares) this.peer.check.answered()
  }

  /** Nothing here proves a block any more: others may be asked. Without a signature of the end nothing can be proven. */
  private tellUnproven(index: number, reason: ErrorCode): void {
    if (reason === 'ERR_SIGNATURE_NOT_FOUND') this.peer.setUploading(false)
    else this.peer.stream.unhave({ start: index })
  }
}

const UNPROVEN: ReadonlySet<unknown> = new Set<ErrorCode>([
  'ERR_NO_PROOF',
  'ERR_NODE_NOT_FOUND',
  'ERR_SIGNATURE_NOT_FOUND'
])

/** Why a block cannot be proven, if that is because something is damaged or missing here. */
function unprovenBy(error: unknown): ErrorCode {
  if (DDatabaseError.is(error) && UNPROVEN.has(error.code)) return error.code
  throw error
}
