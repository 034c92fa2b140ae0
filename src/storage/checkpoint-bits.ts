/** The bits in a checkpoint: those of {@link CHUNK_PAGES} pages are one piece, run length encoded. */
import b4a from 'b4a'
import { CHUNK_PAGES, INDEX_OFFSET, PAGE_SIZE, type PageSource, Pages } from '../bitfield/pages.ts'
import { decodeInto, encode, requireSize } from '../bitfield/rle.ts'
import { DDatabaseError } from '../errors.ts'
import { HEADER_SIZE } from './layout.ts'
import type { StorageFile } from './random-access.ts'
import { storageError } from './storage-error.ts'
import type { TouchedPages } from './touched-pages.ts'

// Where pieces are decoded, and its parts: loading copies what it keeps. As arrays of their own they were most of the garbage of
// an opening.
const scratch = b4a.allocUnsafeSlow(CHUNK_PAGES * INDEX_OFFSET)
const scratchPages = Array.from({ length: CHUNK_PAGES }, (_, page) =>
  scratch.subarray(page * INDEX_OFFSET, (page + 1) * INDEX_OFFSET)
)
// Where pieces are decoded that are asked for while others are looked at.
let decoded: Uint8Array | null = null
const NO_BITS = b4a.alloc(INDEX_OFFSET)
const EMPTY = b4a.alloc(0)

// Bytes of a piece's size, in front of it.
const SIZE = 4

/** The pieces of pages, each behind its size. */
export function* encodePieces(pages: Pages): Generator<Uint8Array> {
  const { source } = pages
  for (let first = 0; first < pages.length; first += CHUNK_PAGES) {
    const count = Math.min(CHUNK_PAGES, pages.length - first)
    const chunk = first / CHUNK_PAGES
    // Of pages that came from a checkpoint and are as they were there, the piece is the same.
    const same = source !== null && first + count <= source.count && pages.isClean(chunk)
    const piece = (same ? source.encodedBitsOf(chunk) : null) ?? encodePiece(pages, first, count)
    const size = b4a.alloc(SIZE)
    new DataView(size.buffer, size.byteOffset).setUint32(0, piece.byteLength)
    yield size
    yield piece
  }
}

function encodePiece(pages: Pages, first: number, count: number): Uint8Array {
  const present: number[] = []
  for (let page = 0; page < count; page++) if (pages.read(first + page) !== null) present.push(page)
  // Most pages of a sparse copy of a long feed.
  if (present.length === 0) return EMPTY
  const bits = scratch.subarray(0, count * INDEX_OFFSET)
  bits.fill(0)
  for (const page of present) scratchPages[page]!.set(pages.read(first + page)!.subarray(0, INDEX_OFFSET))
  return encode(bits)
}

/** The pieces in the payload of a checkpoint. */
class Pieces {
  readonly #payload: Uint8Array
  readonly #view: DataView
  // Where each of them begins; null if one is cut.
  readonly #starts: Uint32Array | null

  constructor(payload: Uint8Array, start: number, count: number) {
    this.#payload = payload
    this.#view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    this.#starts = this.#find(start, count)
  }

  get whole(): boolean {
    return this.#starts !== null
  }

  get count(): number {
    return this.#starts!.length
  }

  /** One of them; no bytes for pages without bits. */
  get(piece: number): Uint8Array {
    const start = this.#starts![piece]!
    const size = this.#view.getUint32(start - SIZE)
    return size === 0 ? EMPTY : this.#payload.subarray(start, start + size)
  }

  #find(start: number, count: number): Uint32Array | null {
    const { byteLength } = this.#payload
    // Before anything is made for that many.
    if (count * SIZE > byteLength - start) return null
    const starts = new Uint32Array(count)
    let at = start
    for (let piece = 0; piece < count; piece++) {
      if (at + SIZE > byteLength) return null
      starts[piece] = at + SIZE
      at += SIZE + this.#view.getUint32(at)
      if (at > byteLength) return null
    }
    return starts
  }
}

/** The bits of a checkpoint, as they are in its payload until somebody asks for pages, which may then be changed. */
export class CheckpointBits {
  readonly #pieces: Pieces
  readonly #count: number
  #pages: Pages | null = null

  /**
   * @param payload - that of a checkpoint
   * @param start - where in it the pieces begin
   * @param count - pages
   */
  constructor(payload: Uint8Array, start: number, count: number) {
    this.#pieces = new Pieces(payload, start, Math.ceil(count / CHUNK_PAGES))
    this.#count = count
  }

  /** Whether it can be decoded. Nothing else may be asked for if it cannot. */
  get wellFormed(): boolean {
    if (!this.#pieces.whole) return false
    try {
      for (let chunk = 0; chunk < this.#pieces.count; chunk++) {
        const piece = this.#pieces.get(chunk)
        if (piece !== EMPTY) requireSize(piece, pagesIn(chunk, this.#count) * INDEX_OFFSET)
      }
      return true
    } catch (error) {
      if (DDatabaseError.is(error)) return false
      throw error
    }
  }

  /** Its pages: decoded when they are needed. */
  get pages(): Pages {
    if (this.#pages === null) {
      this.#pages = new Pages(PAGE_SIZE)
      this.#pages.loadLater(new BitsOfCheckpoint(this.#pieces, this.#count, this.#count, null, null))
    }
    return this.#pages
  }

  /**
   * These bits as what pages can be loaded from later, with the index bytes of a `bitfield` file of pages of {@link PAGE_SIZE} that has
   * the same bits, but for the pages that were touched: null if that has fewer pages.
   *
   * @param file - it can be read at once
   * @param size - its bytes
   * @param touched - pages of which the bits are those in the file; null: the file has the bits of the checkpoint for certain
   */
  source(file: StorageFile, size: number, touched: TouchedPages | null): PageSource | null {
    const stored = Math.ceil((size - HEADER_SIZE) / PAGE_SIZE)
    return stored < this.#count
      ? null
      : new BitsOfCheckpoint(this.#pieces, this.#count, stored, { file, size }, touched)
  }

  /** Whether these are the bits of `pages`. Takes no memory. */
  hasBitsOf(pages: Pages): boolean {
    let last: Uint8Array | null = null
    let lastBits = NO_BITS
    const bitsIn = (content: Uint8Array | null): Uint8Array => {
      if (content === null) return NO_BITS
      // Equal neighbours share their memory.
      if (content !== last) {
        last = content
        lastBits = content.subarray(0, INDEX_OFFSET)
      }
      return lastBits
    }
    if (this.#pages !== null) {
      for (let page = 0; page < this.#count; page++) {
        const bits = this.#pages.read(page)?.subarray(0, INDEX_OFFSET) ?? NO_BITS
        if (!b4a.equals(bits, bitsIn(pages.read(page)))) return false
      }
    } else {
      for (let chunk = 0; chunk < this.#pieces.count; chunk++) {
        const piece = this.#pieces.get(chunk)
        const empty = piece === EMPTY
        if (!empty) decodeInto(scratch, piece)
        for (let i = 0; i < pagesIn(chunk, this.#count); i++) {
          const content = pages.read(chunk * CHUNK_PAGES + i)
          if (empty && content === null) continue
          if (!b4a.equals(empty ? NO_BITS : scratchPages[i]!, bitsIn(content))) return false
        }
      }
    }
    for (let page = this.#count; page < pages.length; page++) {
      const bits = bitsIn(pages.read(page))
      if (bits !== NO_BITS && !b4a.equals(bits, NO_BITS)) return false
    }
    return true
  }
}

/** How many of `count` pages are in a chunk. */
function pagesIn(chunk: number, count: number): number {
  return Math.min(CHUNK_PAGES, count - chunk * CHUNK_PAGES)
}

/** Pages with the bits of a checkpoint, or of a file if they were touched since, and with the index bytes of the file. */
class BitsOfCheckpoint implements PageSource {
  readonly count: number
  readonly stored: number
  readonly exact: boolean
  readonly #pieces: Pieces
  readonly #claimed: number
  readonly #file: { file: StorageFile; size: number } | null
  readonly #touched: TouchedPages | null

  /**
   * @param claimed - pages in the checkpoint
   * @param stored - pages in the file
   * @param file - null: the checkpoint is all there is
   */
  constructor(
    pieces: Pieces,
    claimed: number,
    stored: number,
    file: { file: StorageFile; size: number } | null,
    touched: TouchedPages | null
  ) {
    this.#pieces = pieces
    this.#claimed = claimed
    this.stored = stored
    this.count = touched === null ? claimed : stored
    this.exact = touched === null
    this.#file = file
    this.#touched = touched
  }

  encodedBitsOf(chunk: number): Uint8Array | null {
    if (this.#isTouched(chunk)) return null
    return chunk < this.#pieces.count ? this.#pieces.get(chunk) : EMPTY
  }

  bitsOf(chunk: number): Uint8Array | null {
    const claimed = chunk < this.#pieces.count ? this.#pieces.get(chunk) : EMPTY
    const touched = this.#isTouched(chunk)
    if (claimed === EMPTY && !touched) return null
    decoded ??= b4a.allocUnsafeSlow(CHUNK_PAGES * INDEX_OFFSET)
    const bits = decoded.subarray(0, pagesIn(chunk, this.count) * INDEX_OFFSET)
    if (bits.byteLength === 0) return null
    if (claimed !== EMPTY) decodeInto(bits.subarray(0, pagesIn(chunk, this.#claimed) * INDEX_OFFSET), claimed)
    // The last piece may have been of fewer pages.
    bits.fill(0, claimed === EMPTY ? 0 : pagesIn(chunk, this.#claimed) * INDEX_OFFSET)
    if (!touched) return bits
    for (let at = 0; at * INDEX_OFFSET < bits.byteLength; at++) {
      const page = chunk * CHUNK_PAGES + at
      if (this.#touched!.has(page)) bits.set(this.#read(page, INDEX_OFFSET), at * INDEX_OFFSET)
    }
    return bits
  }

  storedPage(page: number): Uint8Array | null {
    return this.#file === null ? null : this.#read(page, PAGE_SIZE)
  }

  #isTouched(chunk: number): boolean {
    return this.#touched?.overlaps(chunk * CHUNK_PAGES, (chunk + 1) * CHUNK_PAGES) === true
  }

  /** The first bytes of a page in the file, padded with zeros. */
  #read(page: number, length: number): Uint8Array {
    const { file, size } = this.#file!
    const bytes = b4a.alloc(length)
    const position = HEADER_SIZE + page * PAGE_SIZE
    const present = Math.min(length, size - position)
    if (present <= 0) return bytes
    let read: Uint8Array | null
    try {
      read = file.readSync(position, present)
    } catch (error) {
      throw storageError(error)
    }
    if (read === null)
      throw new DDatabaseError('ERR_STORAGE', { message: 'The bitfield cannot be read at this moment' })
    bytes.set(read)
    return bytes
  }
}
