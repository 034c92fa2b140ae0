import { DDatabaseError } from '../errors.ts'
import { MemoryBits, TreeSet } from '../merkle/tree-set.ts'
import type { RequestMessage } from './messages.ts'
import type { Peer } from './peer.ts'

/**
 * Answers the requests of one peer, in order, one at a time, and not faster than the remote reads.
 *
 * A request for what we never had is ignored: an honest peer that is behind sends those (spec WIRE quirk 6); too many
 * end the connection. A block that was cleared, or cannot be read, is answered with Unhave and its hash (quirk 7).
 */
export class Uploader {
  private readonly peer: Peer
  private readonly queue: RequestMessage[] = []
  // What the remote has, as far as its digests tell (spec WIRE §9.3, the set R).
  private readonly remoteTree = new TreeSet(new MemoryBits())
  private running = false
  private useless = 0
  private lastBytes = -1

  constructor(peer: Peer) {
    this.peer = peer
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

  /** Goes on after the output was backed up. */
  resume(): void {
    if (this.running) return
    this.running = true
    this.run().catch((error) => this.peer.destroy(error))
  }

  /** Drops everything that waits. */
  stop(): void {
    this.queue.length = 0
  }

  private async run(): Promise<void> {
    try {
      try {
        while (this.queue.length > 0 && !this.peer.backedUp) await this.answer(this.queue.shift()!)
      } finally {
        // In the same step as the last look at the queue: what comes later starts anew.
        this.running = false
      }
    } finally {
      // In the same breath as the last look at the queue: what comes later starts it again.
      this.running = false
    }
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
    if (!content.tree.get(2 * index)) {
      this.useless++
      if (this.useless > this.peer.limits.uselessRequests) {
        throw new DDatabaseError('ERR_LIMIT', { message: 'Too many requests for blocks that do not exist' })
      }
      return
    }
    const present = content.bits.get(index)
    const value = request.hash || !present ? null : await content.block(index).catch(() => null)
    const hash = value === null
    // Who asks for a hash and has nothing wants to compare: then nothing is left out, whatever was said before.
    const compares = request.hash && request.bytes === 0 && digest === 0
    const tree = compares ? undefined : this.remoteTree
    const proof = await content.proof(index, { digest, hash, tree })
    if (!this.peer.uploading || this.peer.closed) return
    if (value === null && !request.hash) this.peer.stream.unhave({ start: index })
    this.peer.sendBlock(index, value, proof)
  }
}
