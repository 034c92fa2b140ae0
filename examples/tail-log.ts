/** A log file that grows, for many readers: each line is a block. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import ddatabase, { type Feed } from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import { HOST, hex, program, readKey, temporaryFolder, UsageError } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/tail-log.ts serve FILE [--port N]
       node --import tsx examples/tail-log.ts follow KEY ADDRESS [--last N]

serve makes a block of each line of FILE, also of those that are written to it later, until Ctrl-C.
follow prints the last N lines (default 10) and those that follow, and fetches no others. Readers serve each other nothing
here, but could: they would listen, too.
`

// How often the file is looked at, in milliseconds.
const INTERVAL = 100

await program(USAGE, ['port', 'last'], async ({ words: [command, ...words], options, signal }) => {
  if (command === 'serve' && words.length === 1) await serve(words[0]!, options.port ?? 0, signal)
  else if (command === 'follow' && words.length === 2) {
    await follow(readKey(words[0]), words[1]!, options.last ?? 10, signal)
  } else throw new UsageError('Say serve FILE, or follow KEY ADDRESS')
})

async function serve(file: string, port: number, signal: AbortSignal): Promise<void> {
  await stat(file)
  await using place = await temporaryFolder()
  await using feed = ddatabase(place.path, { valueEncoding: 'utf-8' })
  await feed.ready()
  await using swarm = new Swarm({ dht: false, host: HOST })
  swarm.join(feed)
  const { address } = await swarm.listen({ port })
  console.log(`node --import tsx examples/tail-log.ts follow ${hex(feed.key)} ${address}`)
  const tail = { position: 0, rest: Buffer.alloc(0) }
  while (!signal.aborted) {
    await appendNew(feed, file, tail)
    await pause(INTERVAL, null, { signal }).catch(() => {})
  }
}

async function appendNew(
  feed: Feed<string>,
  file: string,
  tail: { position: number; rest: Buffer }
): Promise<void> {
  const { size } = await stat(file)
  if (size <= tail.position) return
  const bytes = createReadStream(file, { start: tail.position, end: size - 1 })
  for await (const chunk of bytes) {
    tail.position += chunk.length
    // A line may end in a later piece, and a character, too: only whole lines are decoded.
    const known = Buffer.concat([tail.rest, chunk])
    const end = known.lastIndexOf(10) + 1
    tail.rest = known.subarray(end)
    // All lines of a piece are one batch, with one signature.
    if (end > 0) await feed.append(known.toString('utf8', 0, end - 1).split('\n'))
  }
}

async function follow(key: Uint8Array, address: string, last: number, signal: AbortSignal): Promise<void> {
  await using feed = ddatabase(RAM, key, { valueEncoding: 'utf-8', sparse: true })
  await using swarm = new Swarm({ dht: false })
  swarm.join(feed)
  await swarm.connect(address)
  // Until somebody says how long it is, or, of an empty one, that there is a first line.
  await feed.update()
  const lines = feed.createReadStream({ start: Math.max(0, feed.length - last), live: true })
  signal.addEventListener('abort', () => lines.destroy())
  try {
    for await (const line of lines) console.log(line)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
