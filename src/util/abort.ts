/** Ending calls by an AbortSignal. A call without one never gets past the first line of any of these. */
import { argumentTypeError, DDatabaseError, type ErrorCode } from '../errors.ts'
import { isGiven } from './given.ts'

/** A `signal` option: none, or something shaped like an AbortSignal (also one of another realm or of a polyfill). */
export type SignalOption = AbortSignal | null | undefined

/**
 * The calls that a signal ends. One listener serves all calls of a signal: thousands of them neither cost a search in
 * its list of listeners, nor does Node.js warn of a leak. It is removed with the last call.
 */
const endings = new WeakMap<AbortSignal, { listener: () => void; calls: Set<() => void> }>()

/** Errors: TypeError `ERR_INVALID_ARG_TYPE` for a `signal` option that is none. */
export function checkSignal(signal: unknown): void {
  if (!isGiven(signal)) return
  const { aborted, addEventListener, removeEventListener } = signal as Partial<AbortSignal>
  if (
    typeof signal !== 'object' ||
    typeof aborted !== 'boolean' ||
    typeof addEventListener !== 'function' ||
    typeof removeEventListener !== 'function'
  ) {
    throw argumentTypeError('signal should be an AbortSignal')
  }
}

/** What a call that the signal has ended fails with; the signal's reason is the cause. */
export function abortError(signal: AbortSignal, code: ErrorCode = 'ERR_REQUEST_CANCELLED'): DDatabaseError {
  return new DDatabaseError(code, { cause: signal.reason })
}

/** Errors: `ERR_REQUEST_CANCELLED` if the signal is aborted. */
export function throwIfAborted(signal: SignalOption): void {
  if (signal?.aborted) throw abortError(signal)
}

/**
 * Calls `end` when the signal, which is not aborted yet, is aborted.
 * @returns to be called when the call is over
 */
export function onAbort(
  signal: AbortSignal,
  end: (error: DDatabaseError) => void,
  code?: ErrorCode
): () => void {
  const { listener, calls } = endings.get(signal) ?? listenTo(signal)
  const call = (): void => end(abortError(signal, code))
  calls.add(call)
  return () => {
    if (!calls.delete(call) || calls.size > 0 || endings.get(signal)?.calls !== calls) return
    stopListening(signal, listener)
  }
}

function listenTo(signal: AbortSignal): { listener: () => void; calls: Set<() => void> } {
  const calls = new Set<() => void>()
  const listener = (): void => {
    stopListening(signal, listener)
    for (const call of calls) call()
  }
  const shared = { listener, calls }
  signal.addEventListener('abort', listener)
  endings.set(signal, shared)
  return shared
}

function stopListening(signal: AbortSignal, listener: () => void): void {
  endings.delete(signal)
  try {
    signal.removeEventListener('abort', listener)
  } catch {
    // A signal of the application's own making. The call is over, and has its outcome.
  }
}

/**
 * The outcome of a call, or the error of an abort that comes first. What the call has begun is for the call itself to
 * take back.
 */
export function untilAborted<V>(signal: SignalOption, call: Promise<V>): Promise<V> {
  if (!isGiven(signal)) return call
  return new Promise((resolve, reject) => {
    // First of all: if the signal cannot be listened to, the call has still been begun.
    const over = call.then(resolve, reject)
    const forget = onAbort(signal, reject)
    over.then(forget)
  })
}
