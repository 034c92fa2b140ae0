import http from 'node:http'

/** What a server said. */
export interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
}

/** A request with exactly these headers and this path, which `fetch` would not send. */
export function request(
  url: string,
  { method = 'GET', path, headers = {}, body }: RequestParts = {}
): Promise<Answer> {
  const { hostname, port, pathname, search } = new URL(url)
  const options = {
    host: hostname.replace(/[[\]]/g, ''),
    port,
    method,
    path: path ?? pathname + search,
    headers: { connection: 'close', ...headers }
  }
  return new Promise((resolve, reject) => {
    const sent = http.request(options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) })
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Parts of a request. */
export interface RequestParts {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: string | Uint8Array
}

/** Asks as the page does, and expects a good answer. */
export async function getJson<T>(base: string, path: string): Promise<T> {
  const answer = await request(base + path)
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`)
  return JSON.parse(answer.body.toString()) as T
}

/** Sends something as the page does. */
export function send(
  base: string,
  path: string,
  body: string | Uint8Array = '',
  type = 'application/json',
  method = 'POST'
): Promise<Answer> {
  const headers = { origin: new URL(base).origin, 'content-type': type }
  return request(base + path, { method, headers, body })
}

/** The server-sent events of an address, until `enough` of them have come. */
export function events(
  url: string,
  enough: (events: { event: string; data: unknown }[]) => boolean
): Promise<{ event: string; data: unknown }[]> {
  const left = new AbortController()
  const run = async () => {
    const response = await fetch(url, { signal: left.signal })
    const got: { event: string; data: unknown }[] = []
    let text = ''
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece
      const parts = text.split('\n\n')
      text = parts.pop()!
      for (const part of parts) {
        const event = /^event: (.*)$/m.exec(part)?.[1] ?? ''
        const data = /^data: (.*)$/m.exec(part)?.[1] ?? ''
        got.push({ event, data: data === '' ? null : JSON.parse(data) })
      }
      if (enough(got)) break
    }
    return got
  }
  return run().finally(() => left.abort())
}
