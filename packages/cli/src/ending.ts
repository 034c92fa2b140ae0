import type { Readable } from 'node:stream'

/** The chunks of a stream, until its end or until the signal. */
export async function* endingWith(input: Readable, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const stop = (): void => void input.destroy()
  signal.addEventListener('abort', stop)
  try {
    if (!signal.aborted) yield* input
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
