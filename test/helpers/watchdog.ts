/** Turns "never answers" into a failure, so that a hanging call fails its own test instead of the whole run. */

/** How long any single call may take. Far above what the slowest machine needs: only a hang gets there. */
const PATIENCE = 60_000

/** `promise`, or a rejection that names the call if it does not settle. */
export function within<T>(promise: PromiseLike<T>, what: string, patience = PATIENCE): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} never answered`)), patience)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      }
    )
  })
}

/** Lets everything that is already under way finish: a few turns of the event loop. */
export async function settle(turns = 5): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** The error a promise rejects with; fails if it does not. */
export async function rejection(
  promise: PromiseLike<unknown>,
  what: string
): Promise<Error & { code?: unknown }> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    if (error instanceof Error) return error
    throw new Error(`${what} rejected with something that is not an Error: ${String(error)}`)
  }
  throw new Error(`${what} should have been rejected, but answered ${String(value)}`)
}
