/** A timeout that can be started over cheaply and does not keep a process alive. */

// Node's timeouts can be refreshed and unref'd; those of browsers are numbers.
interface NodeTimeout {
  refresh?(): void
  unref?(): void
}

// Larger delays wrap around to 1 ms.
const LONGEST = 2 ** 31 - 1

/** Calls a function once, `ms` after it was made or last refreshed. */
export class Timer {
  /** Milliseconds until the call. */
  readonly ms: number
  private fn: (() => void) | null
  private handle: ReturnType<typeof setTimeout>

  /** @param ms - more than 2^31 − 1 counts as that */
  constructor(ms: number, fn: () => void) {
    this.ms = ms
    this.fn = fn
    this.handle = this.start()
  }

  /** Starts the time over; without effect after the call or `destroy`. */
  refresh(): void {
    if (this.fn === null) return
    const handle = this.handle as unknown as NodeTimeout
    if (handle.refresh !== undefined) {
      handle.refresh()
      return
    }
    clearTimeout(this.handle)
    this.handle = this.start()
  }

  /** The function will not be called any more. */
  destroy(): void {
    this.fn = null
    clearTimeout(this.handle)
  }

  private start(): ReturnType<typeof setTimeout> {
    const handle = setTimeout(
      () => {
        const fn = this.fn
        this.fn = null
        if (fn !== null) fn()
      },
      Math.min(this.ms, LONGEST)
    )
    const unreffable = handle as unknown as NodeTimeout
    if (unreffable.unref !== undefined) unreffable.unref()
    return handle
  }
}
