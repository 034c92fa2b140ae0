import b4a from 'b4a'
import { PAGE_BLOCKS, type PageAccess } from '../bitfield/pages.ts'
import { DDatabaseError } from '../errors.ts'
import { WINDOW } from './wants.ts'

const PAGE_BYTES = PAGE_BLOCKS / 8
const WINDOW_PAGES = WINDOW / PAGE_BLOCKS

type Page = Uint8Array | null

// What all pages, and all windows, without a gap share. Never written to.
const FULL_PAGE: Uint8Array = b4a.alloc(PAGE_BYTES, 0xff)
const EMPTY_PAGE = b4a.alloc(PAGE_BYTES)
const FULL_WINDOW: Page[] = new Array<Page>(WINDOW_PAGES).fill(FULL_PAGE)

/**
 * The blocks that a remote says it has: pages of bits, gathered in windows, that exist only where it said something. Nothing
 * here takes time or memory by what is claimed, only by what there is to tell apart: a page without a gap costs nothing, and
 * pages of their own are limited in number. There are none without a block, nor windows, as each search would go through them.
 *
 * What we lack of the blocks is worked out when it is asked for, so that nothing has to be kept in step with our own bitfield.
 */
export class RemoteBlocks {
  // Window numbers, ascending, and the windows in the same order. Few feeds have more than one.
  private readonly numbers: number[] = []
  private readonly windows: Page[][] = []
  // Pages and windows that are not shared; each takes about a KiB.
  private units = 0
  private readonly local: () => PageAccess
  private readonly limit: () => number

  /**
   * @param local - our own pages, whose data bits are the blocks that are here
   * @param limit - pages and windows that may be held; more throw `ERR_LIMIT`
   */
  constructor(local: () => PageAccess, limit: () => number = () => Number.POSITIVE_INFINITY) {
    this.local = local
    this.limit = limit
  }

  /** Whether the remote has the block and we lack it. */
  get(block: number): boolean {
    return this.has(block) && (byteOf(this.local().read(pageOf(block)), block) & maskOf(block)) === 0
  }

  /** Whether the remote has the block. */
  has(block: number): boolean {
    const number = Math.floor(block / WINDOW)
    const at = this.find(number)
    if (this.numbers[at] !== number) return false
    return (byteOf(this.windows[at]![pageIn(number, block)]!, block) & maskOf(block)) !== 0
  }

  /** Notes that the remote has, or lacks, blocks `start` … `end` − 1. Errors: `ERR_LIMIT`. */
  setRange(start: number, end: number, value: boolean): void {
    if (value) this.add(start, end)
    else this.remove(start, end)
  }

  private add(start: number, end: number): void {
    for (let from = start; from < end; ) {
      const number = Math.floor(from / WINDOW)
      const base = number * WINDOW
      const to = Math.min(end, base + WINDOW)
      if (to - from === WINDOW) this.replaceWindow(number, FULL_WINDOW)
      else this.change(number, from, to, true)
      from = to
    }
  }

  private remove(start: number, end: number): void {
    let at = this.find(Math.floor(start / WINDOW))
    const first = this.numbers[at]
    if (first === undefined) return
    if (first * WINDOW < start) {
      if (first * WINDOW + WINDOW > start) {
        this.change(first, start, Math.min(end, first * WINDOW + WINDOW), false)
      }
      // The window is gone if that was all of it.
      at = this.find(first + 1)
    }
    const stop = this.find(Math.floor(end / WINDOW))
    if (at < stop) {
      for (let i = at; i < stop; i++) this.units -= unitsOf(this.windows[i]!)
      this.numbers.splice(at, stop - at)
      this.windows.splice(at, stop - at)
    }
    const last = this.numbers[at]
    if (last !== undefined && last * WINDOW >= start && last * WINDOW < end) {
      this.change(last, last * WINDOW, end, false)
    }
  }

  /** Changes blocks of one window that are not all of it. */
  private change(number: number, start: number, end: number, value: boolean): void {
    const window = this.own(number, value)
    if (window === null) return
    for (let from = start; from < end; ) {
      const page = pageIn(number, from)
      const base = number * WINDOW + page * PAGE_BLOCKS
      const to = Math.min(end, base + PAGE_BLOCKS)
      if (to - from === PAGE_BLOCKS) this.setPage(window, page, value ? FULL_PAGE : null)
      else if (window[page] !== (value ? FULL_PAGE : null)) {
        fill(this.ownPage(window, page), from - base, to - base, value)
        if (value) this.sharePage(window, page)
        else this.dropPage(window, page)
      }
      from = to
    }
    if (!value) this.dropWindow(number, window)
  }

  /** Replaces the bits from `start` (a multiple of 8) on by `bytes`, for as many as there are. Errors: `ERR_LIMIT`. */
  replace(start: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      const block = start + 8 * i
      const number = Math.floor(block / WINDOW)
      const page = pageIn(number, block)
      const offset = (block - number * WINDOW - page * PAGE_BLOCKS) / 8
      const part = bytes.subarray(i, i + PAGE_BYTES - offset)
      i += part.length
      const whole = part.length === PAGE_BYTES
      const empty = b4a.equals(part, whole ? EMPTY_PAGE : EMPTY_PAGE.subarray(0, part.length))
      const window = this.own(number, !empty)
      if (window === null) continue
      if (whole && empty) this.setPage(window, page, null)
      else if (whole && b4a.equals(part, FULL_PAGE)) this.setPage(window, page, FULL_PAGE)
      else if (!empty || window[page] !== null) {
        this.ownPage(window, page).set(part, offset)
        if (empty) this.dropPage(window, page)
        else this.sharePage(window, page)
      }
      if (empty) this.dropWindow(number, window)
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.numbers.length = 0
    this.windows.length = 0
    this.units = 0
  }

  /** The first block of `start` … `end` − 1 that the remote has and we lack; −1 if there is none. */
  next(start: number, end: number): number {
    if (start >= end) return -1
    const local = this.local()
    for (let i = this.find(Math.floor(start / WINDOW)); i < this.numbers.length; i++) {
      const base = this.numbers[i]! * WINDOW
      if (base >= end) return -1
      const found = nextIn(this.windows[i]!, local, base, Math.max(start, base), Math.min(end, base + WINDOW))
      if (found !== -1) return found
    }
    return -1
  }

  /** The last block before `end` that the remote has; −1 if there is none. */
  last(end: number): number {
    for (let i = this.numbers.length - 1; i >= 0; i--) {
      const base = this.numbers[i]! * WINDOW
      for (let page = WINDOW_PAGES - 1; page >= 0 && base < end; page--) {
        const bytes = this.windows[i]![page]!
        const first = base + page * PAGE_BLOCKS
        if (bytes === null || first >= end) continue
        for (let block = Math.min(end, first + PAGE_BLOCKS) - 1; block >= first; block--) {
          if ((byteOf(bytes, block) & maskOf(block)) !== 0) return block
        }
      }
    }
    return -1
  }

  /** Where the window with this number is, or would be. */
  private find(number: number): number {
    const { numbers } = this
    let low = 0
    let high = numbers.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (numbers[middle]! < number) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The window with this number, to be changed; null if there is none and none is to be made. */
  private own(number: number, make: boolean): Page[] | null {
    const at = this.find(number)
    if (this.numbers[at] === number) {
      let window = this.windows[at]!
      if (window === FULL_WINDOW) {
        window = [...FULL_WINDOW]
        this.windows[at] = window
      }
      return window
    }
    if (!make) return null
    this.spend()
    const window = new Array<Page>(WINDOW_PAGES).fill(null)
    this.numbers.splice(at, 0, number)
    this.windows.splice(at, 0, window)
    return window
  }

  private replaceWindow(number: number, window: Page[]): void {
    const at = this.find(number)
    if (this.numbers[at] === number) {
      this.units -= unitsOf(this.windows[at]!) - 1
      this.windows[at] = window
      return
    }
    this.spend()
    this.numbers.splice(at, 0, number)
    this.windows.splice(at, 0, window)
  }

  private setPage(window: Page[], page: number, value: Page): void {
    if (isOwn(window[page]!)) this.units--
    window[page] = value
  }

  /** Forgets a page if it has no block any more. */
  private dropPage(window: Page[], page: number): void {
    if (b4a.equals(window[page]!, EMPTY_PAGE)) this.setPage(window, page, null)
  }

  /** A page that has come to be full, bit by bit, is the shared one from then on. */
  private sharePage(window: Page[], page: number): void {
    if (b4a.equals(window[page]!, FULL_PAGE)) this.setPage(window, page, FULL_PAGE)
  }

  /** Forgets a window if it has no block any more. */
  private dropWindow(number: number, window: Page[]): void {
    if (window.some((page) => page !== null)) return
    const at = this.find(number)
    this.numbers.splice(at, 1)
    this.windows.splice(at, 1)
    this.units--
  }

  private ownPage(window: Page[], page: number): Uint8Array {
    const bytes = window[page]!
    if (bytes !== null && bytes !== FULL_PAGE) return bytes
    this.spend()
    const own = new Uint8Array(PAGE_BYTES)
    if (bytes !== null) own.fill(0xff)
    window[page] = own
    return own
  }

  private spend(): void {
    if (this.units >= this.limit()) {
      throw new DDatabaseError('ERR_LIMIT', { message: 'What the remote says it has takes too much memory' })
    }
    this.units++
  }
}

function nextIn(window: Page[], local: PageAccess, base: number, start: number, end: number): number {
  for (let at = start; at < end; ) {
    const page = Math.floor((at - base) / PAGE_BLOCKS)
    const first = base + page * PAGE_BLOCKS
    const remote = window[page]!
    if (remote !== null) {
      const own = local.read(first / PAGE_BLOCKS)
      const last = Math.min(end, first + PAGE_BLOCKS) - first
      let mask = 0xff >> ((at - first) & 7)
      for (let i = (at - first) >> 3; 8 * i < last; i++) {
        const byte = remote[i]! & ~(own === null ? 0 : own[i]!) & mask
        mask = 0xff
        if (byte === 0) continue
        const found = 8 * i + Math.clz32(byte) - 24
        return found < last ? first + found : -1
      }
    }
    at = first + PAGE_BLOCKS
  }
  return -1
}

function unitsOf(window: Page[]): number {
  let units = 1
  if (window !== FULL_WINDOW) for (const page of window) if (isOwn(page)) units++
  return units
}

function isOwn(page: Page): boolean {
  return page !== null && page !== FULL_PAGE
}

function pageOf(block: number): number {
  return Math.floor(block / PAGE_BLOCKS)
}

function pageIn(window: number, block: number): number {
  return Math.floor((block - window * WINDOW) / PAGE_BLOCKS)
}

function byteOf(page: Uint8Array | null, block: number): number {
  return page === null ? 0 : page[(block % PAGE_BLOCKS) >> 3]!
}

function maskOf(block: number): number {
  return 0x80 >> (block % 8)
}

function fill(bytes: Uint8Array, start: number, end: number, value: boolean): void {
  let at = start
  for (; at < end && (at & 7) !== 0; at++) setBit(bytes, at, value)
  const whole = end & ~7
  if (at < whole) bytes.fill(value ? 0xff : 0, at >> 3, whole >> 3)
  for (at = Math.max(at, whole); at < end; at++) setBit(bytes, at, value)
}

function setBit(bytes: Uint8Array, bit: number, value: boolean): void {
  if (value) bytes[bit >> 3]! |= 0x80 >> (bit & 7)
  else bytes[bit >> 3]! &= ~(0x80 >> (bit & 7))
}
