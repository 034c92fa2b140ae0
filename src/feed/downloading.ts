import { argumentRangeError, argumentTypeError, DDatabaseError } from '../errors.ts'
import type { Peer } from '../replication/peer.ts'
import { abortError, checkSignal } from '../util/abort.ts'
import { type Callback, checkCallback } from '../util/callback.ts'
import { isGiven } from '../util/given.ts'
import type { Core } from './core.ts'
import { checkIndex } from './options.ts'
import { type Counted, listedBytes, PresentBytes, totalBytes } from './progress.ts'
import type { StoredBlock } from './putting.ts'
import { type DownloadRange, Selection, type SelectionOwner } from './selections.ts'
import { WritingFeed } from './writing.ts'

/** The part of a feed that says what is to be fetched from peers. */
export abstract class DownloadingFeed<T> extends WritingFeed<T> {
  private readonly _presentBytes = new PresentBytes()
  private readonly _selectionOwner: SelectionOwner = {
    undownload: (selection) => this.undownload(selection),
    count: (selection) => this._countSelected(selection)
  }

  /**
   * Marks blocks for download: a range, one block, an array of blocks, or everything.
   * @returns the selection: it can be awaited, cancelled, asked for its progress, and passed to {@link undownload}
   * Errors: `ECANCELED`, `ERR_FEED_CLOSED`. Throws TypeError or RangeError for a range that is none.
   */
  download(range?: DownloadRange | number | readonly number[] | null, callback?: Callback | null): Selection
  download(callback: Callback | null | undefined): Selection
  download(
    range?: DownloadRange | number | readonly number[] | null | Callback,
    callback?: Callback | null
  ): Selection {
    if (typeof range === 'function') return this.download(null, range)
    checkCallback(callback)
    const selected = toRange(range)
    const { start, end, signal } = selected
    // Not asked of `undownload`: callers count up the start of what they pass to it.
    if (typeof end === 'number' && end !== -1 && end < (start ?? 0)) {
      throw argumentRangeError(`end should not be before start, got ${start} to ${end}`)
    }
    const closed = this._closingBegun
    const selection = new Selection(selected, this._selectionOwner, closed ? null : callback)
    if (closed) {
      const error = new DDatabaseError('ERR_FEED_CLOSED')
      selection.finish(error)
      // At once, as callers of the published packages know it.
      callback?.(error)
      return selection
    }
    if (signal) {
      if (signal.aborted) {
        selection.finish(abortError(signal, 'ECANCELED'))
        return selection
      }
      selection.endBy(signal, (error) => {
        if (this._selections.cancel(selection, error)) this._requestsChanged()
      })
    }
    if (this._selections.add(selection, this._core) && this._core !== null) {
      this._replication.replicator.downloadAdded(selection)
    }
    return selection
  }

  /** Gives up a download: this selection, or the first one with the same range. Unknown ones are ignored. */
  undownload(range: DownloadRange | number | readonly number[] | null | undefined): void {
    if (!isGiven(range)) return
    if (this._selections.cancel(range instanceof Selection ? range : toRange(range))) this._requestsChanged()
  }

  /**
   * Cancels one `get` by what it returned (or by its `cancel` option), or the gets, seeks and downloads within
   * blocks `start` … `end` − 1. Their callbacks get `ERR_REQUEST_CANCELLED`, downloads `ECANCELED`.
   */
  cancel(start: unknown, end?: number | null): void {
    // What `get` returns if it cannot wait; calls without an id must not be meant by it.
    if (!isGiven(start)) return
    if (typeof start !== 'number') {
      this._waiters.cancel(start)
      this._requestsChanged()
      return
    }
    const first = checkIndex(start, 'start')
    const last = isGiven(end) ? checkIndex(end, 'end') : first + 1
    this._selections.cancelRange(first, last)
    this._waiters.cancelRange(first, last)
    this._requestsChanged()
  }

  /** Chooses whether blocks are fetched from peers. */
  setDownloading(downloading: boolean): void {
    // Nothing changes for peers either: one may have been told otherwise.
    if (downloading === this.downloading && this._downloadingSet) return
    this.downloading = downloading
    this._downloadingSet = true
    for (const peer of [...this.peers]) peer.setDownloading(downloading)
  }

  /** Chooses whether blocks are sent to peers. */
  setUploading(uploading: boolean): void {
    if (uploading === this.uploading) return
    this.uploading = uploading
    for (const peer of [...this.peers]) peer.setUploading(uploading)
  }

  protected override _downloadEverything(): void {
    this.download({ start: 0, end: -1 })
  }

  private async _countSelected(selection: Selection): Promise<Counted> {
    const core = await this._whenReady()
    const { start, end, blocks, hash } = selection
    if (blocks !== null) {
      const listed = new Set(blocks)
      let present = 0
      for (const block of listed) if (selection.has(core, block)) present++
      const sizes = hash ? NO_BYTES : await this._guarded(listedBytes(core, listed))
      return { blocks: present, totalBlocks: listed.size, ...sizes }
    }
    const last = end === -1 ? Math.max(start, core.length, this.remoteLength) : end
    const totalBlocks = last - start
    if (hash) {
      let present = selection.from - start
      for (let block = selection.from; block < last && block < core.length; block++) {
        if (selection.has(core, block)) present++
      }
      return { blocks: present, totalBlocks, ...NO_BYTES }
    }
    const present = core.bits.total(start, last)
    const bytes = await this._guarded(this._presentBytes.sum(core, start, last))
    const total = present === totalBlocks ? bytes : await this._guarded(totalBytes(core, start, last))
    return { blocks: present, totalBlocks, bytes, totalBytes: total }
  }

  protected override _blocksStored(core: Core, blocks: readonly StoredBlock[], peer: Peer | null): void {
    for (const { block, value, isNew } of blocks) {
      if (isNew && value !== null) this._presentBytes.stored(block, value.length)
    }
    super._blocksStored(core, blocks, peer)
  }

  protected override _blocksGone(wanted = true): void {
    this._presentBytes.forget()
    super._blocksGone(wanted)
  }
}

const NO_BYTES = { bytes: 0, totalBytes: 0 }

/** A download range in its short forms. Errors: TypeError, RangeError. */
function toRange(range: DownloadRange | number | readonly number[] | null | undefined): DownloadRange {
  if (!isGiven(range)) return {}
  if (typeof range === 'number') return { start: checkIndex(range), end: range + 1 }
  if (Array.isArray(range)) return toRange({ blocks: range })
  if (typeof range !== 'object') throw argumentTypeError('range should be a number, an array or an object')
  const { start, end, blocks, signal } = range as DownloadRange
  if (isGiven(start)) checkIndex(start, 'start')
  if (isGiven(end) && end !== -1) checkIndex(end, 'end')
  if (isGiven(blocks)) {
    if (!Array.isArray(blocks)) throw argumentTypeError('blocks should be an array')
    for (const block of blocks) checkIndex(block, 'block')
  }
  checkSignal(signal)
  return range as DownloadRange
}
