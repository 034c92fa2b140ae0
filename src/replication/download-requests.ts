import type { Peer } from './peer.ts'
import type { Replicator } from './replicator.ts'
import type { Wanted } from './source.ts'

// Blocks asked for in a row before a new place is chosen at random: they are read and written together. Only where digests tell
// what is under way (`Foreseen`); else each of the neighbours would bring the same nodes, four times as many in all.
const RUN = 256

// Blocks of one download asked for before it is the turn of the next, for the same reason.
const ROW = 16

/** What peers are asked for downloads, as many blocks as may be under way, from places at random if the download does not say otherwise. */
export class DownloadRequests {
  private readonly replicator: Replicator

  constructor(replicator: Replicator) {
    this.replicator = replicator
  }

  /** Sends the requests that are due, to one peer. */
  fill(peer: Peer): void {
    const { reserved, source } = this.replicator
    const { window } = peer.downloader
    while (!peer.downloader.isFull(window)) {
      const before = peer.inflightRequests.length
      for (const wanted of source.downloads()) {
        for (let left = peer.authenticated ? ROW : 1; left > 0; left--) {
          if (peer.downloader.isFull(window)) return
          const index =
            wanted.blocks === null ? this.nextInRange(peer, wanted) : this.nextInList(peer, wanted)
          if (index === -1) break
          if (reserved.take(index)) peer.downloader.request(index, 0, wanted.hash)
        }
      }
      if (peer.inflightRequests.length === before) return
    }
  }

  /** Whether a peer has something of a download that may be asked for. */
  couldBring(peer: Peer, wanted: Wanted): boolean {
    return this.search(peer, wanted, wanted.from, wanted.end) !== -1
  }

  private isOpenFor(peer: Peer, wanted: Wanted, index: number): boolean {
    const { reserved, lateness, source } = this.replicator
    if (reserved.has(index) || !peer.remoteBitfield.get(index)) return false
    if (lateness.isAskedAlready(peer, index)) return false
    if (!wanted.hash && source.cleared?.has(index)) return false
    return !wanted.hash || !source.content.tree.get(2 * index)
  }

  private nextInRange(peer: Peer, wanted: Wanted): number {
    const { replicator } = this
    const start = wanted.from
    let end = wanted.end === -1 ? peer.remoteLength : Math.min(wanted.end, peer.remoteLength)
    // Each answer that makes the feed longer brings the whole proof with a signature: not many of those at a time.
    if (peer.inflightRequests.length >= peer.maxRequests)
      end = Math.min(end, replicator.source.content.length)
    if (start >= end) return -1
    const cursor = peer.downloader.cursor(wanted)
    let from = start
    if (!wanted.linear) {
      if (cursor.left === 0 || cursor.next < start || cursor.next >= end) {
        cursor.next = start + Math.floor(replicator.random() * (end - start))
        cursor.left = peer.authenticated ? RUN : 1
      }
      from = cursor.next
      cursor.left--
    }
    let index = this.search(peer, wanted, from, end)
    if (index === -1 && from > start) index = this.search(peer, wanted, start, from)
    if (index === -1) cursor.left = 0
    else cursor.next = index + 1
    return index
  }

  private search(peer: Peer, wanted: Wanted, from: number, end: number): number {
    const cleared = wanted.hash ? null : this.replicator.source.cleared
    let index = peer.remoteBitfield.next(from, end)
    while (index !== -1 && !this.isOpenFor(peer, wanted, index)) {
      const after = cleared === null ? index + 1 : cleared.firstMissing(index + 1, end)
      index = after === -1 ? -1 : peer.remoteBitfield.next(after, end)
    }
    return index
  }

  private nextInList(peer: Peer, wanted: Wanted): number {
    const blocks = wanted.blocks!
    const cursor = peer.downloader.cursor(wanted)
    const start = wanted.from
    const first = Math.max(cursor.next, start)
    for (let i = 0; i < blocks.length - start; i++) {
      const at = start + ((first - start + i) % (blocks.length - start))
      if (!this.isOpenFor(peer, wanted, blocks[at]!)) continue
      cursor.next = at + 1
      return blocks[at]!
    }
    return -1
  }
}
