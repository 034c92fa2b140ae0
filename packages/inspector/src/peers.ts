import type { Feed, Peer } from 'ddatabase'
import type { PeerSummary } from './messages.ts'
import { Ranges } from './ranges.ts'

/** Parts that what a peer has is told in. */
const PARTS = 64
/** Blocks that are asked about in each part. */
const SAMPLES = 8
/** Blocks a peer owes that are named. */
const NAMED = 64

/** Numbers for peers, which have no names. */
export class PeerNumbers {
  readonly #numbers = new WeakMap<Peer, number>()
  #next = 1

  /** The number of a peer. */
  of(peer: Peer): number {
    const known = this.#numbers.get(peer)
    if (known !== undefined) return known
    this.#numbers.set(peer, this.#next)
    return this.#next++
  }
}

/** The blocks that peers were sent: nobody announces a block to whoever it came from. */
export class Sent {
  readonly #peers = new WeakMap<Peer, { blocks: Ranges; last: number; time: number }>()

  /** A block was sent. */
  note(peer: Peer, block: number): void {
    const blocks = this.#peers.get(peer)?.blocks ?? new Ranges()
    blocks.add(block, block + 1)
    this.#peers.set(peer, { blocks, last: block, time: performance.now() })
  }

  /** Whether a peer was sent a block. */
  has(peer: Peer, block: number): boolean {
    return this.#peers.get(peer)?.blocks.has(block) === true
  }

  /** The last one that a peer was sent, and how many milliseconds ago; null if there was none. */
  last(peer: Peer): { block: number; ago: number } | null {
    const sent = this.#peers.get(peer)
    if (sent === undefined) return null
    return { block: sent.last, ago: Math.max(0, Math.round(performance.now() - sent.time)) }
  }
}

/** What can be told of a peer of a feed. */
export function summarisePeer(peer: Peer, id: number, feed: Feed<unknown>, sent: Sent): PeerSummary {
  const owed = peer.inflightRequests.filter((request) => !request.arrived)
  const oldest = owed.reduce((time, request) => Math.min(time, request.sent), Number.POSITIVE_INFINITY)
  return {
    id,
    address: peer.remoteAddress,
    type: peer.remoteType,
    publicKey: peer.remotePublicKey === null ? null : Buffer.from(peer.remotePublicKey).toString('hex'),
    remoteLength: peer.remoteLength,
    ...samplesOf(peer, feed, sent),
    wants: peer.remoteDownloading,
    sent: sent.last(peer),
    gives: peer.remoteUploading,
    owes: owed.slice(0, NAMED).map((request) => request.index),
    owed: owed.length,
    owedFor: owed.length === 0 ? 0 : Math.max(0, Math.round(performance.now() - oldest)),
    transfers: peer.stats === null ? null : { ...peer.stats }
  }
}

/** What it has of each part, and about how many blocks it lacks of those that are here. */
function samplesOf(peer: Peer, feed: Feed<unknown>, sent: Sent): Pick<PeerSummary, 'has' | 'lacks'> {
  const length = Math.max(feed.length, peer.remoteLength)
  const parts = Math.min(PARTS, length)
  const has: number[] = []
  let lacks = 0
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((part * length) / parts)
    const end = Math.floor(((part + 1) * length) / parts)
    const samples = Math.min(SAMPLES, end - start)
    let found = 0
    let lacking = 0
    for (let i = 0; i < samples; i++) {
      const block = start + Math.floor((i * (end - start)) / samples)
      if (peer.remoteBitfield.has(block)) found++
      else if (feed.has(block) && !sent.has(peer, block)) lacking++
    }
    has.push(found / samples)
    lacks += (lacking / samples) * (end - start)
  }
  // Whoever is not asked what it has does not say so, and may have everything.
  const known = has.some((share) => share > 0) || sent.last(peer) !== null
  return { has, lacks: known ? Math.round(lacks) : null }
}
