import type { Peer } from 'ddatabase'
import type { PeerSummary } from './messages.ts'

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

/** What can be told of a peer. @param length - blocks of the feed here */
export function summarisePeer(peer: Peer, id: number, length: number): PeerSummary {
  const owed = peer.inflightRequests.filter((request) => !request.arrived)
  const oldest = owed.reduce((time, request) => Math.min(time, request.sent), Number.POSITIVE_INFINITY)
  return {
    id,
    address: peer.remoteAddress,
    type: peer.remoteType,
    publicKey: peer.remotePublicKey === null ? null : Buffer.from(peer.remotePublicKey).toString('hex'),
    remoteLength: peer.remoteLength,
    has: sharesOf(peer, Math.max(length, peer.remoteLength)),
    wants: peer.remoteDownloading,
    gives: peer.remoteUploading,
    owes: owed.slice(0, NAMED).map((request) => request.index),
    owed: owed.length,
    owedFor: owed.length === 0 ? 0 : Math.max(0, Math.round(performance.now() - oldest)),
    transfers: peer.stats === null ? null : { ...peer.stats }
  }
}

function sharesOf(peer: Peer, length: number): number[] {
  const parts = Math.min(PARTS, length)
  const shares: number[] = []
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((part * length) / parts)
    const end = Math.floor(((part + 1) * length) / parts)
    const samples = Math.min(SAMPLES, end - start)
    let found = 0
    for (let i = 0; i < samples; i++) {
      if (peer.remoteBitfield.has(start + Math.floor((i * (end - start)) / samples))) found++
    }
    shares.push(found / samples)
  }
  return shares
}
