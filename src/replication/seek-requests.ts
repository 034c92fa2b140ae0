import type { Peer } from './peer.ts'
import type { Replicator } from './replicator.ts'
import type { SeekQuestion } from './seek-answers.ts'
import type { Wish } from './source.ts'

type Seek = Extract<Wish, { kind: 'seek' }>

// Requests for one seek that may be out at a time.
const SEEK_REQUESTS = 4

/**
 * What peers are asked for seeks: hashes of blocks that may be the one, with the place in bytes that is sought, until that is known but for two
 * neighbours; then one of those, whose size decides.
 */
export class SeekRequests {
  private readonly replicator: Replicator

  constructor(replicator: Replicator) {
    this.replicator = replicator
  }

  /** Whether a peer may yet tell the place. */
  canHelp(peer: Peer, wish: Seek): boolean {
    if (wish.looking) return true
    const asked = wish.pair === undefined && peer.inflightRequests.some(({ bytes }) => bytes === wish.bytes)
    return asked || this.hasFor(peer, wish)
  }

  /** Whether a peer says it has a block that would do. */
  hasFor(peer: Peer, wish: Seek): boolean {
    if (wish.pair !== undefined) return pairOf(wish).some((index) => peer.remoteBitfield.get(index))
    return !this.wasInVain(peer, wish) && this.target(peer, wish, true) !== -1
  }

  /** Sends the requests that are due, to one peer. */
  fill(peer: Peer, wish: Seek): void {
    const { replicator } = this
    const { lateness, reserved, source } = replicator
    // In a moment it is known better what to ask for.
    if (wish.looking) return
    if (wish.pair !== undefined) {
      const { bits } = source.content
      if (bits.get(wish.pair) || bits.get(wish.pair + 1)) return
      if (lateness.hasBetterSeeker(peer, wish)) return
      const pair = pairOf(wish)
      if (replicator.isAsked(peer, (request) => !request.hash && pair.includes(request.index))) return
      const index = pair.find((block) => peer.remoteBitfield.get(block))
      if (index !== undefined && reserved.take(index)) peer.downloader.request(index, 0, false)
      return
    }
    if (this.wasInVain(peer, wish) || lateness.hasBetterSeeker(peer, wish)) return
    // Like the published peers, a seek names several blocks of its range; whichever answer comes tells the place.
    for (let room = this.room(peer, wish.bytes); room > 0; room--) {
      const index = this.target(peer, wish)
      if (index === -1 || !reserved.take(index)) return
      // Never for the block itself: published peers answer with one that may be another, and unasked ones are dropped.
      peer.downloader.request(index, wish.bytes, true, this.questionFor(peer, wish))
    }
  }

  /** Whether somebody still seeks this place. */
  isWished(bytes: number): boolean {
    for (const wish of this.replicator.source.otherWishes())
      if (wish.kind === 'seek' && wish.bytes === bytes) return true
    return false
  }

  private questionFor(peer: Peer, { start, end }: Seek): SeekQuestion {
    const { length } = this.replicator.source.content
    return { start, end, length, remoteLength: peer.remoteLength }
  }

  /** Whether a peer was asked the same before, and its answer did not help. */
  private wasInVain(peer: Peer, wish: Seek): boolean {
    return peer.downloader.seeks.wasInVain(wish.bytes, this.questionFor(peer, wish))
  }

  /** How many requests more may be sent to a peer; the more peers are late with theirs, the more for all others. */
  private room(peer: Peer, bytes: number): number {
    let own = 0
    let waiting = 0
    let late = 0
    for (const other of this.replicator.peers) {
      const requests = other.inflightRequests.filter((request) => request.bytes === bytes)
      if (other === peer) own = requests.length
      else if (requests.some(({ overdue }) => overdue)) late++
      for (const { overdue } of requests) if (!overdue) waiting++
    }
    return Math.min(SEEK_REQUESTS - own, SEEK_REQUESTS * Math.max(1, late) - waiting)
  }

  /** A block of the range that the peer has, and whose hash would be news. */
  private target(peer: Peer, wish: Seek, evenReserved = false): number {
    const { reserved, source } = this.replicator
    const { tree } = source.content
    const end = wish.end === -1 ? peer.remoteLength : Math.min(wish.end, peer.remoteLength)
    let index = peer.remoteBitfield.next(wish.start, end)
    while (index !== -1 && ((!evenReserved && reserved.has(index)) || tree.get(2 * index))) {
      index = peer.remoteBitfield.next(index + 1, end)
    }
    return index
  }
}

/**
 * The blocks of a seek's pair that may be asked for. Remotes tell the place also if it lies outside of the range, which byte streams
 * rely on: then the range says nothing about the pair.
 */
function pairOf({ pair, start, end }: Seek): number[] {
  const both = [pair!, pair! + 1]
  const within = both.filter((index) => index >= start && (end === -1 || index < end))
  return within.length > 0 ? within : both
}
