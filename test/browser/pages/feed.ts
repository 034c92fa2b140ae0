/** Feeds in a page: in memory, and in the origin private file system under a plain name. */
import RAM from 'random-access-memory'
import { replicateOver } from '../../../examples/browser/page/web-socket.ts'
import ddatabase, { type Feed, type FeedOptions } from '../../../src/index.ts'
import { expose } from './expose.ts'
import { listing } from './opfs.ts'

type Text = Feed<string>

const feeds = new Map<string, Text>()
const tails = new Map<string, string[]>()

function feed(name: string): Text {
  const found = feeds.get(name)
  if (found === undefined) throw new Error(`no feed ${name}`)
  return found
}

/** Names that begin with `ram` are for memory. */
function storageOf(name: string) {
  return name.startsWith('ram') ? RAM : name
}

const sum = async (name: string): Promise<string> => {
  let hash = new Uint8Array(32)
  for await (const block of feed(name).createReadStream()) {
    const joined = new Uint8Array(hash.byteLength + (block as unknown as Uint8Array).byteLength)
    joined.set(hash)
    joined.set(block as unknown as Uint8Array, hash.byteLength)
    hash = new Uint8Array(await crypto.subtle.digest('SHA-256', joined))
  }
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

expose({
  listing,

  /** Node's globals, as this page sees them. */
  nodeGlobals: () =>
    ['Buffer', 'process', 'global', 'setImmediate', 'require'].filter((name) => name in globalThis),

  async open(name: string, key?: string | null, options: FeedOptions<string> = {}) {
    const made = ddatabase<string>(storageOf(name), key ?? null, { valueEncoding: 'utf-8', ...options })
    feeds.set(name, made)
    await made.ready()
    return hex(made.key!)
  },
  append: (name: string, values: string[]) => feed(name).append(values),
  /** Appends blocks of `size` bytes until one fails, which it reports. */
  async fill(name: string, size: number, count: number) {
    const block = 'x'.repeat(size)
    for (let i = 0; i < count; i++) await feed(name).append(block)
  },
  /** Starts to append without end. */
  fillForever(name: string, size: number) {
    const block = 'x'.repeat(size)
    const on = (): void => void feed(name).append([block, block, block]).then(on)
    on()
  },
  length: (name: string) => feed(name).length,
  writable: (name: string) => feed(name).writable,
  get: (name: string, index: number) => feed(name).get(index),
  async blocks(name: string) {
    return feed(name).length === 0 ? [] : await feed(name).getBatch(0, feed(name).length)
  },
  audit: async (name: string) => ({ ...(await feed(name).audit()) }),
  sum,
  close: (name: string) => feed(name).close(),
  destroy: (name: string) => feed(name).destroyStorage(),

  connect(name: string, url: string) {
    replicateOver(new WebSocket(url), feed(name).replicate(true, { live: true }))
  },
  async download(name: string, start: number, end: number) {
    await feed(name).download({ start, end })
  },
  update: (name: string, length: number) => feed(name).update(length),
  /** Collects the blocks that come from now on. */
  tail(name: string) {
    const blocks: string[] = []
    tails.set(name, blocks)
    feed(name)
      .createReadStream({ live: true })
      .on('data', (block) => blocks.push(block as string))
  },
  tailed: (name: string) => tails.get(name)
})

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
