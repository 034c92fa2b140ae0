import { DDatabaseError } from '../errors.ts'
import { type Callback, checkCallback, type Deferred, deferred, ignore, settle } from './callback.ts'
import { Constructible } from './construct-on.ts'
import { Emitter, type EventMap } from './emitter.ts'

// As it was when this was loaded: whoever records events may replace it.
const { emit } = Emitter.prototype as { emit: unknown }

/** Where a resource is in its life. A failed opening leads back to `new`: the next call tries again. */
type State = 'new' | 'opening' | 'open' | 'closing' | 'closed'

/**
 * Opening and closing with the properties and the rules that callers of the published packages rely on:
 * `opened` stays true after closing, `close` waits for an opening under way and for users counted by `active`.
 */
export abstract class Lifecycle<Events extends EventMap<Events>> extends Constructible<Events> {
  /** Users that hold the resource open. */
  actives = 0
  private _state: State = 'new'
  private _everOpened = false
  private _openingPromise: Promise<void> | null = null
  private _closingPromise: Promise<void> | null = null
  private _idle: Deferred<void> | null = null
  private _waitingForOpen = 0

  /** Opening is under way. */
  get opening(): boolean {
    return this._state === 'opening'
  }

  /** Opening succeeded; stays true after closing. */
  get opened(): boolean {
    return this._everOpened
  }

  /** Closing is under way. */
  get closing(): boolean {
    return this._state === 'closing'
  }

  /** Closed for good. */
  get closed(): boolean {
    return this._state === 'closed'
  }

  /** Whether the resource can be used right now. */
  protected get _usable(): boolean {
    return this._state === 'open'
  }

  /** Whether closing was asked for; the resource may still be open. */
  protected get _closingBegun(): boolean {
    return this._closingPromise !== null
  }

  protected abstract _openResource(): Promise<void>
  protected abstract _closeResource(): Promise<void>
  /** Opening failed; `told` says whether somebody is waiting for the answer. */
  protected abstract _openFailed(error: Error, told: boolean): void

  /**
   * Opens the resource, or waits for the opening under way.
   * @returns a promise; with a callback the outcome goes there too
   * Errors: `ERR_RESOURCE_CLOSED` after closing, else why opening failed. After a failure the next call tries again.
   */
  open(): Promise<void>
  open(callback: Callback | null | undefined): void
  open(callback?: Callback | null): Promise<void> {
    return this._openFor(callback)
  }

  /** Same as {@link open}. */
  ready(): Promise<void>
  ready(callback: Callback | null | undefined): void
  ready(callback?: Callback | null): Promise<void> {
    return this._openFor(callback)
  }

  private _openFor(callback: Callback | null | undefined): Promise<void> {
    checkCallback(callback)
    this._waitingForOpen++
    return settle(this._whenOpen(), callback)
  }

  /** Starts opening on nobody's behalf: a failure is reported through {@link _openFailed} only. */
  protected _start(): void {
    this._whenOpen().catch(ignore)
  }

  /** Waits for the opening without being one of those who are told: a failure is reported as if nobody waited. */
  protected _whenOpen(): Promise<void> {
    if (this._state === 'open') return Promise.resolve()
    if (this._openingPromise !== null) return this._openingPromise
    if (this._state !== 'new' || this._closingPromise !== null) {
      return Promise.reject(new DDatabaseError('ERR_RESOURCE_CLOSED'))
    }
    this._state = 'opening'
    this._openingPromise = this._runOpening()
    return this._openingPromise
  }

  private async _runOpening(): Promise<void> {
    try {
      await this._openResource()
      this._state = 'open'
      this._everOpened = true
      this._notify('ready')
    } catch (error) {
      this._state = 'new'
      const told = this._waitingForOpen > 0
      queueMicrotask(() => this._openFailed(error as Error, told))
      throw error
    } finally {
      this._openingPromise = null
      this._waitingForOpen = 0
    }
  }

  /**
   * Emits an event from inside an operation. An exception of a listener is the application's own and must not
   * change the outcome of the operation: it is thrown again outside of it.
   */
  protected _notify(event: string, ...values: unknown[]): void {
    try {
      this.emit(event as keyof Events, ...(values as Events[keyof Events]))
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /** Whether somebody gets to see the values of an event. */
  protected _isHeard(event: string): boolean {
    return this.emit !== emit || this.listenerCount(event as keyof Events) > 0
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
    this._closingPromise ??= this._runClosing(!allowActive || allowActive === done)
    return settle(this._closingPromise, done)
  }

  private _refusesUsers = false

  private async _runClosing(fast: boolean): Promise<void> {
    if (fast) this._refusesUsers = true
    if (this._openingPromise !== null) await this._openingPromise.catch(ignore)
    if (this.actives > 0) {
      this._idle = deferred()
      await this._idle.promise
    }
    if (this._state !== 'open') {
      this._state = 'closed'
      await this._closeResource()
      return
    }
    this._state = 'closing'
    try {
      await this._closeResource()
    } finally {
      this._state = 'closed'
    }
    this._notify('close')
  }

  /** Counts a user in; false (and `ERR_RESOURCE_CLOSED` to the callback) once closing has begun. */
  active(callback?: Callback): boolean {
    checkCallback(callback)
    if (this._refusesUsers || this._state === 'closing' || this._state === 'closed') {
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
    if (this.actives === 0 && this._idle !== null) this._idle.resolve()
    callback?.(error, value)
  }
}
