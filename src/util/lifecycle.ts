import { DDatabaseError } from '../errors.ts'
import { type Callback, checkCallback, type Deferred, deferred, ignore, settle } from './callback.ts'
import { Emitter, type EventMap } from './emitter.ts'

/** Where a resource is in its life. A failed opening leads back to `new`: the next call tries again. */
type State = 'new' | 'opening' | 'open' | 'closing' | 'closed'

/**
 * Opening and closing with the properties and the rules that callers of the published packages rely on:
 * `opened` stays true after closing, `close` waits for an opening under way and for users counted by `active`.
 */
export abstract class Lifecycle<Events extends EventMap<Events>> extends Emitter<Events> {
  /** Users that hold the resource open. */
  actives = 0
  private state: State = 'new'
  private everOpened = false
  private openingPromise: Promise<void> | null = null
  private closingPromise: Promise<void> | null = null
  private idle: Deferred<void> | null = null
  private waitingForOpen = 0

  /** Opening is under way. */
  get opening(): boolean {
    return this.state === 'opening'
  }

  /** Opening succeeded; stays true after closing. */
  get opened(): boolean {
    return this.everOpened
  }

  /** Closing is under way. */
  get closing(): boolean {
    return this.state === 'closing'
  }

  /** Closed for good. */
  get closed(): boolean {
    return this.state === 'closed'
  }

  /** Whether the resource can be used right now. */
  protected get usable(): boolean {
    return this.state === 'open'
  }

  /** Whether closing was asked for; the resource may still be open. */
  protected get closingBegun(): boolean {
    return this.closingPromise !== null
  }

  protected abstract openResource(): Promise<void>
  protected abstract closeResource(): Promise<void>
  /** Opening failed; `told` says whether somebody is waiting for the answer. */
  protected abstract openFailed(error: Error, told: boolean): void

  /**
   * Opens the resource, or waits for the opening under way.
   * @returns a promise; with a callback the outcome goes there too
   * Errors: `ERR_RESOURCE_CLOSED` after closing, else why opening failed. After a failure the next call tries again.
   */
  open(): Promise<void>
  open(callback: Callback | null | undefined): void
  open(callback?: Callback | null): Promise<void> {
    return this.openFor(callback)
  }

  /** Same as {@link open}. */
  ready(): Promise<void>
  ready(callback: Callback | null | undefined): void
  ready(callback?: Callback | null): Promise<void> {
    return this.openFor(callback)
  }

  private openFor(callback: Callback | null | undefined): Promise<void> {
    checkCallback(callback)
    this.waitingForOpen++
    return settle(this.whenOpen(), callback)
  }

  /** Starts opening on nobody's behalf: a failure is reported through {@link openFailed} only. */
  protected start(): void {
    this.whenOpen().catch(ignore)
  }

  /** Waits for the opening without being one of those who are told: a failure is reported as if nobody waited. */
  protected whenOpen(): Promise<void> {
    if (this.state === 'open') return Promise.resolve()
    if (this.openingPromise !== null) return this.openingPromise
    if (this.state !== 'new' || this.closingPromise !== null) {
      return Promise.reject(new DDatabaseError('ERR_RESOURCE_CLOSED'))
    }
    this.state = 'opening'
    this.openingPromise = this.runOpening()
    return this.openingPromise
  }

  private async runOpening(): Promise<void> {
    try {
      await this.openResource()
      this.state = 'open'
      this.everOpened = true
      this.notify('ready')
    } catch (error) {
      this.state = 'new'
      const told = this.waitingForOpen > 0
      queueMicrotask(() => this.openFailed(error as Error, told))
      throw error
    } finally {
      this.openingPromise = null
      this.waitingForOpen = 0
    }
  }

  /**
   * Emits an event from inside an operation. An exception of a listener is the application's own and must not
   * change the outcome of the operation: it is thrown again outside of it.
   */
  protected notify(event: string, ...values: unknown[]): void {
    try {
      this.emit(event as keyof Events, ...(values as Events[keyof Events]))
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /**
   * Closes the resource: waits for an opening under way and for all active users first. Closing again is harmless.
   * @param allowActive - accepted for compatibility: users may still be added while others hold the resource
   */
  close(allowActive?: boolean): Promise<void>
  close(callback: Callback | null | undefined): void
  close(allowActive: boolean, callback: Callback | null | undefined): void
  close(allowActive?: boolean | Callback | null, callback?: Callback | null): Promise<void> {
    const done = typeof allowActive === 'function' ? allowActive : callback
    checkCallback(done)
    this.closingPromise ??= this.runClosing(!allowActive || allowActive === done)
    return settle(this.closingPromise, done)
  }

  private refusesUsers = false

  private async runClosing(fast: boolean): Promise<void> {
    if (fast) this.refusesUsers = true
    if (this.openingPromise !== null) await this.openingPromise.catch(ignore)
    if (this.actives > 0) {
      this.idle = deferred()
      await this.idle.promise
    }
    if (this.state !== 'open') {
      this.state = 'closed'
      await this.closeResource()
      return
    }
    this.state = 'closing'
    try {
      await this.closeResource()
    } finally {
      this.state = 'closed'
    }
    this.notify('close')
  }

  /** Counts a user in; false (and `ERR_RESOURCE_CLOSED` to the callback) once closing has begun. */
  active(callback?: Callback): boolean {
    checkCallback(callback)
    if (this.refusesUsers || this.state === 'closing' || this.state === 'closed') {
      if (callback) queueMicrotask(() => callback(new DDatabaseError('ERR_RESOURCE_CLOSED')))
      return false
    }
    this.actives++
    return true
  }

  /** Counts a user out and passes `error` and `value` on to `callback`. */
  inactive<T>(callback?: Callback<T>, error: Error | null = null, value?: T): void {
    checkCallback(callback)
    this.actives--
    if (this.actives === 0 && this.idle !== null) this.idle.resolve()
    callback?.(error, value)
  }
}
