// Timers cannot do more: a longer one would be over at once.
const LONGEST = 2 ** 31 - 1

/** About as many milliseconds: so that not everybody who waits comes at the same time. */
export function about(milliseconds: number): number {
  return Math.min(LONGEST, milliseconds * (0.75 + Math.random() / 2))
}

/** `promise`, or a rejection with the signal's reason if that comes first. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  let stop = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
  })
  signal.addEventListener('abort', stop)
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** `promise`, or undefined if it has not settled in time. Its rejection after that is ignored. */
export async function untilTimeout<T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
