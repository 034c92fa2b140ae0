import type { StatusMessage } from './messages.ts'
import type { Peer } from './peer.ts'
import type { Replicator } from './replicator.ts'
import type { InflightRequest } from './requests.ts'

/**
 * When peers that are not live may go (spec WIRE §14): this side has all that it wants, or nobody will ever bring it, and says so; then
 * the remote has all that it wants. A sparse feed never has all: its peers stay until the remote ends.
 */
export class Endings {
  private readonly replicator: Replicator

  constructor(replicator: Replicator) {
    this.replicator = replicator
  }

  /**
   * Looks whether it has become known how long the feed is, and whether all is here. Then open-ended downloads get an end, and peers that
   * nothing more is wanted from are told so. Who has not told yet what it has may have more. So may one that does not show what it claims, but the
   * others need not stay for that.
   * @param left - a peer that is not live has just left
   */
  look(left = false): void {
    const { source, peers } = this.replicator
    if (source.sparse || !(left || peers.some((peer) => !peer.live))) return
    const believed = peers.filter((peer) => !this.isDoubtful(peer))
    const length = Math.max(source.content.length, ...believed.map((peer) => peer.remoteLength))
    if (believed.length < peers.length || peers.some((peer) => peer.mayTell)) {
      if (!source.downloadsWithin(length)) return
    } else {
      // Who was not asked, or does not upload, has said nothing about the feed: that ends no download, which others may be there for.
      if (peers.some((peer) => !peer.live && peer.hasTold) || (left && length > 0))
        source.endDownloads(length)
      if (source.anyDownloads && !this.isExhausted()) return
    }
    for (const peer of believed) {
      if (!peer.live && peer.downloading && peer.remoteUploading && peer.remoteOpened && !peer.mayTell)
        peer.end()
    }
  }

  /** Whether a peer stays only because another one claims to have more, and was asked to show it. */
  isKept(peer: Peer, { index, bytes }: InflightRequest): boolean {
    const { source } = this.replicator
    if (source.sparse || peer.live || bytes > 0) return false
    return index >= Math.max(source.content.length, peer.remoteLength)
  }

  /**
   * Whether nobody will ever bring what open downloads still lack: no peer has any of it, nor fetches anything that it could pass on
   * later. So it is with what an author has cleared.
   */
  private isExhausted(): boolean {
    const { replicator } = this
    const { peers, source, storing } = replicator
    const mayBring = (peer: Peer): boolean =>
      peer.remoteDownloading || peer.inflightRequests.length > 0 || peer.inflightWants > 0
    if (storing > 0 || peers.some(mayBring)) return false
    for (const wanted of source.downloads()) {
      if (!wanted.isOpen || peers.some((peer) => replicator.downloads.couldBring(peer, wanted))) return false
    }
    return true
  }

  /** Whether a peer claims to have more than is known, and is late, does not upload, or has taken back what could show it. */
  private isDoubtful(peer: Peer): boolean {
    const { length } = this.replicator.source.content
    if (peer.remoteLength <= length) return false
    return (
      !peer.mayAsk || peer.downloader.isSlow || peer.remoteBitfield.next(length, peer.remoteLength) === -1
    )
  }
}

/** How far one peer has come with its end. */
export class PeerEnding {
  private readonly peer: Peer
  private readonly endings: Endings
  private readonly intendedToDownload: boolean
  private told = false
  // The remote uploads nothing, and has only said so otherwise.
  private leaves = false

  constructor(peer: Peer, endings: Endings) {
    this.peer = peer
    this.endings = endings
    this.intendedToDownload = peer.downloading
  }

  /** The remote is about to be taken at its word. @returns whether that is how a published peer says that it has finished */
  says({ uploading, downloading }: StatusMessage): boolean {
    const { remoteDownloading, remoteUploading } = this.peer
    // Though it uploads nothing, and answers no Want (quirk 16).
    this.leaves = remoteDownloading && !remoteUploading && uploading && !downloading
    return this.leaves
  }

  /** This side needs nothing more: says so, and closes when the remote needs nothing either. */
  end(): void {
    const { peer } = this
    if (peer.check.postpones(() => this.afterCheck())) return
    if (!peer.downloading && !peer.remoteDownloading && !peer.live) {
      if (!this.intendedToDownload) peer.stream.status({ uploading: false, downloading: false })
      peer.close()
    } else if (!this.told) {
      this.told = true
      peer.downloading = false
      peer.sendStatus()
      // What the remote lacks does not come from here; a published peer that lacks nothing would not end by itself now.
      if (!peer.uploading && !peer.live) peer.close()
    } else if (!peer.live) {
      peer.close()
    }
  }

  /** Ends if the remote downloads nothing more, and this side has nothing to do either. */
  withRemote(): void {
    const { peer } = this
    const { source } = peer
    if (peer.remoteDownloading || peer.live || peer.closed) return
    // Who uploads nothing for now may do so later.
    const wantsMore = this.leaves ? !source.downloadsWithin(source.content.length) : source.anyDownloads
    if (peer.downloading && wantsMore) return
    if (peer.sparse && (peer.remoteUploading || peer.downloading)) return
    this.end()
  }

  private afterCheck(): void {
    this.withRemote()
    this.endings.look()
  }
}
