/** Parts of a large file by HTTP, from a copy that fetches what is asked for, and no more. */
import { createReadStream } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import ddatabase, { type Feed } from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import { HOST, hex, interrupted, program, readKey, temporaryFolder, UsageError } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/http-range.ts publish FILE [--port N]
       node --import tsx examples/http-range.ts serve KEY ADDRESS [--http N]

publish puts FILE into a feed, in blocks of 64 KB, and serves that until Ctrl-C.
serve answers HTTP requests for the file, also for ranges of bytes (a player that seeks, curl --range), and fetches for each only
the blocks that it needs. It says how many it has.
`

const BLOCK = 64 * 1024

await program(USAGE, ['port', 'http'], async ({ words: [command, ...words], options, signal }) => {
  if (command === 'publish' && words.length === 1) await publish(words[0]!, options.port ?? 0, signal)
  else if (command === 'serve' && words.length === 2) {
    await serve(readKey(words[0]), words[1]!, options.http ?? 0, signal)
  } else throw new UsageError('Say publish FILE, or serve KEY ADDRESS')
})

async function publish(file: string, port: number, signal: AbortSignal): Promise<void> {
  await using place = await temporaryFolder()
  await using feed = ddatabase(place.path)
  for await (const bytes of createReadStream(file, { highWaterMark: BLOCK })) await feed.append(bytes)
  await using swarm = new Swarm({ dht: false, host: HOST })
  swarm.join(feed)
  const { address } = await swarm.listen({ port })
  console.log(`node --import tsx examples/http-range.ts serve ${hex(feed.key)} ${address}`)
  await interrupted(signal)
}

async function serve(key: Uint8Array, address: string, port: number, signal: AbortSignal): Promise<void> {
  await using place = await temporaryFolder()
  await using feed = ddatabase(place.path, key, { sparse: true })
  await using swarm = new Swarm({ dht: false })
  swarm.join(feed)
  await swarm.connect(address)
  // Until somebody says how long it is: the connection alone does not tell whether anybody has the feed.
  await feed.update()
  const server = createServer((request, response) => {
    answer(feed, request, response)
      .catch(() => response.destroy())
      .finally(() => console.log(`${feed.downloaded()} of ${feed.length} blocks are here`))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, resolve)
  })
  console.log(`http://${HOST}:${(server.address() as AddressInfo).port}/, ${feed.byteLength} bytes`)
  await interrupted(signal)
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

async function answer(feed: Feed, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
    return
  }
  const size = feed.byteLength
  const range = readRange(request.headers.range, size)
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${size}` }).end()
    return
  }
  const { start, end } = range ?? { start: 0, end: size }
  response.writeHead(range === null ? 200 : 206, {
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'content-length': end - start,
    ...(range === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${size}` })
  })
  if (request.method === 'HEAD') response.end()
  else await pipeline(Readable.from(bytesOf(feed, start, end)), response)
}

/** The bytes start … end − 1. The hashes that lead to the first block are verified as every block is. */
async function* bytesOf(feed: Feed, start: number, end: number): AsyncGenerator<Uint8Array> {
  if (start === end) return
  const { index, offset } = await feed.seek(start)
  let position = start - offset
  for (let block = index; position < end; block++) {
    const bytes = await feed.get(block)
    yield bytes.subarray(Math.max(0, start - position), Math.min(bytes.byteLength, end - position))
    position += bytes.byteLength
  }
}

/** One range of bytes; null for the whole file, also where several ranges are asked for. */
function readRange(
  header: string | undefined,
  size: number
): { start: number; end: number } | null | 'unsatisfiable' {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return null
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (start >= size || (first === '' && Number(last) === 0)) return 'unsatisfiable'
  return end <= start ? null : { start, end }
}
