/** A folder as one feed: its files one after the other, and a list of them as the last block. */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import ddatabase, { type Feed } from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import { HOST, hex, interrupted, program, readKey, temporaryFolder, UsageError } from './shared/program.ts'

const USAGE = `Usage: node --import tsx examples/share-folder.ts share FOLDER [--port N]
       node --import tsx examples/share-folder.ts fetch KEY ADDRESS TARGET

share puts the files of FOLDER into a feed, and serves it until Ctrl-C.
fetch makes TARGET, which must not exist or be empty, with the same files. Every block is verified on the way.
`

/** A file, and the blocks that hold its bytes: start … end − 1. */
interface Entry {
  path: string
  start: number
  end: number
}

const BLOCK = 64 * 1024

await program(USAGE, ['port'], async ({ words: [command, ...words], options, signal }) => {
  if (command === 'share' && words.length === 1) await share(words[0]!, options.port ?? 0, signal)
  else if (command === 'fetch' && words.length === 3) await fetchInto(words[2]!, readKey(words[0]), words[1]!)
  else throw new UsageError('Say share FOLDER, or fetch KEY ADDRESS TARGET')
})

async function share(folder: string, port: number, signal: AbortSignal): Promise<void> {
  await using place = await temporaryFolder()
  await using feed = ddatabase(place.path)
  const entries: Entry[] = []
  for (const name of await readdir(folder, { recursive: true })) {
    if (!(await stat(path.join(folder, name))).isFile()) continue
    const start = feed.length
    const file = createReadStream(path.join(folder, name), { highWaterMark: BLOCK })
    for await (const bytes of file) await feed.append(bytes)
    // In other systems' folders names are joined by slashes, too.
    entries.push({ path: name.split(path.sep).join('/'), start, end: feed.length })
  }
  await feed.append(Buffer.from(JSON.stringify(entries)))

  await using swarm = new Swarm({ dht: false, host: HOST })
  swarm.join(feed)
  const { address } = await swarm.listen({ port })
  console.log(`${entries.length} files, ${feed.byteLength} bytes. In another terminal:`)
  console.log(`node --import tsx examples/share-folder.ts fetch ${hex(feed.key)} ${address} TARGET`)
  await interrupted(signal)
}

async function fetchInto(target: string, key: Uint8Array, address: string): Promise<void> {
  await mkdir(target, { recursive: true })
  if ((await readdir(target)).length > 0) throw new UsageError(`${target} is not empty`)
  await using place = await temporaryFolder()
  await using feed = ddatabase(place.path, key)
  await using swarm = new Swarm({ dht: false })
  swarm.join(feed)
  await swarm.connect(address)
  // Until somebody says how long it is: the connection alone does not tell whether anybody has the feed.
  await feed.update()
  const entries: Entry[] = JSON.parse(Buffer.from(await feed.get(feed.length - 1)).toString())
  for (const entry of entries) await write(feed, entry, target)
  console.log(`${entries.length} files are in ${target}`)
}

async function write(feed: Feed, entry: Entry, target: string): Promise<void> {
  const file = path.join(target, entry.path)
  // Who wrote the list is not to be trusted with the rest of the disk.
  const inside = path.relative(target, file)
  if (inside === '' || inside.split(path.sep)[0] === '..' || path.isAbsolute(inside)) {
    throw new Error(`The feed names a file outside of the folder: ${entry.path}`)
  }
  await mkdir(path.dirname(file), { recursive: true })
  const blocks = feed.createReadStream({ start: entry.start, end: entry.end })
  await pipeline(Readable.from(blocks), createWriteStream(file, { flags: 'wx' }))
}
