import { DDatabaseError } from '../errors.ts'

/** The outcome of a call, or `ETIMEDOUT` when `ms` milliseconds pass before; 0: no limit. */
export function untilTimeout<V>(ms: number, call: Promise<V>): Promise<V> {
  if (ms === 0) return call
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new DDatabaseError('ETIMEDOUT')), ms)
    call.then(resolve, reject).then(() => clearTimeout(timer))
  })
}
