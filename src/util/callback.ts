/** The only place where callbacks meet promises. */
import { argumentTypeError } from '../errors.ts'
import { isGiven } from './given.ts'

/** A Node.js style callback. `error` is null on success. */
export type Callback<T = void> = (error: Error | null, value?: T) => void

/**
 * Hands the outcome of `promise` to `callback`, or returns the promise when there is none.
 *
 * Callbacks run in a microtask of their own, so that an exception inside one is an uncaught exception of the
 * application and not a rejection of ours. A returned promise never counts as an unhandled rejection: whoever
 * awaits it gets the error, and a call that nobody awaits does not end the process.
 */
export function settle<T>(promise: Promise<T>, callback: Callback<T> | null | undefined): Promise<T> {
  if (!isGiven(callback)) {
    promise.catch(ignore)
    return promise
  }
  promise.then(
    // Where there is nothing to tell there is no argument for it.
    (value) => queueMicrotask(() => (value === undefined ? callback(null) : callback(null, value))),
    (error) => queueMicrotask(() => callback(error))
  )
  return promise
}

/**
 * Checks a callback before anything is begun. It throws even where other errors are answered: there is nobody to
 * answer to, and the promise of a call with a callback is not looked at.
 * @throws TypeError `ERR_INVALID_ARG_TYPE`
 */
export function checkCallback(callback: unknown): void {
  if (isGiven(callback) && typeof callback !== 'function') {
    throw argumentTypeError('callback should be a function')
  }
}

/**
 * An option that is called. `false` is none, as `wanted && hook` leaves it and the published packages take it.
 * Errors: TypeError `ERR_INVALID_ARG_TYPE` for anything else that is no function.
 */
export function checkFunction(value: unknown, name: string): void {
  if (isGiven(value) && value !== false && typeof value !== 'function') {
    throw argumentTypeError(`${name} should be a function`)
  }
}

/** Promise of a function that takes a callback. A synchronous exception of `start` rejects; only the first answer counts. */
export function promised<T = void>(
  start: (callback: (error?: unknown, value?: T) => void) => void
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error) reject(error)
      else resolve(value as T)
    })
  })
}

/** The same for a method that others may have put one of their own in place of: it may call back, return a promise, or both. */
export function answered<T>(call: (callback: Callback<T>) => unknown): Promise<T> {
  return promised((callback) => {
    const result = call(callback) as PromiseLike<T> | undefined
    if (typeof result?.then === 'function') result.then((value) => callback(null, value), callback)
  })
}

/** A promise with its handles. */
export interface Deferred<T> {
  promise: Promise<T>
  resolve(value: T): void
  reject(error: Error): void
}

/** A promise to be settled by hand; its rejection is never unhandled. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  promise.catch(ignore)
  return { promise, resolve, reject }
}

/** Does nothing. */
export function ignore(): void {}

/** What an application gave where no promise is expected: should it be one that fails, and nobody looks at it, the process goes on. */
export function unwatched<T>(value: T): T {
  if (value instanceof Promise) value.catch(ignore)
  return value
}
