import type { Failure } from '../messages.ts'

// The token is in the path of this page, and so in what is relative to it.
const BASE = `${location.pathname.replace(/[^/]*$/, '')}api/`

/** The server said no. */
export class RequestError extends Error {
  readonly code: string

  constructor({ code, message }: Failure) {
    super(message)
    this.code = code
  }
}

/** The address of something below `api/`. */
export function address(path: string): string {
  return BASE + path
}

/** Asks, and checks that the answer is good. Errors: {@link RequestError}, and those of `fetch`. */
export async function ask(path: string, init?: RequestInit): Promise<Response> {
  const response = await fetch(address(path), init)
  if (response.ok) return response
  const failure = (await response.json().catch(() => null)) as Failure | null
  throw new RequestError(failure ?? { code: String(response.status), message: response.statusText })
}

/** Asks for JSON. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, { signal: signal ?? null })).json() as Promise<T>
}

/** Sends something. */
export async function send<T>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: { type: string; content: Blob | string },
  signal?: AbortSignal
): Promise<T> {
  const init: RequestInit = { method, signal: signal ?? null }
  if (body !== undefined) Object.assign(init, { headers: { 'content-type': body.type }, body: body.content })
  return (await ask(path, init)).json() as Promise<T>
}

/** The lines of an answer that comes piece by piece. */
export async function* lines<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
  const { body } = await ask(path, { signal })
  let text = ''
  for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
    text += piece
    const parts = text.split('\n')
    text = parts.pop()!
    for (const part of parts) yield JSON.parse(part) as T
  }
}

/** What went wrong, in words. */
export function wordsOf(error: unknown): string {
  return error instanceof RequestError ? `${error.message} (${error.code})` : String((error as Error).message)
}
