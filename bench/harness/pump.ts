import type { Callback } from './feed.ts'

/**
 * Runs `count` operations with `inFlight` of them at a time; an operation starts when an earlier one has
 * answered. Rejects with the first error, after the operations in flight have answered.
 */
export function pump(
  count: number,
  inFlight: number,
  operate: (position: number, callback: Callback) => void
): Promise<number> {
  return new Promise((resolve, reject) => {
    let started = 0
    let answered = 0
    let failure: Error | null = null
    let starting = false

    function answer(error: Error | null): void {
      answered++
      if (error && failure === null) failure = error
      next()
    }

    // The loop, not recursion, goes on after an answer that came before `operate` returned.
    function next(): void {
      if (starting) return
      starting = true
      while (failure === null && started < count && started - answered < inFlight) operate(started++, answer)
      starting = false
      if (answered < started) return
      if (failure !== null) reject(failure)
      else if (started === count) resolve(count)
    }

    next()
  })
}
