/** The feed of this page: opened, followed, forgotten. */
import RAM from 'random-access-memory'
import ddatabase, { type Feed, type Storage } from '../../../src/index.ts'
import { replicateOver } from './web-socket.ts'

/** The folder of the origin private file system for this example. */
const FOLDER = 'follow'
/** How long to wait before connecting again, in milliseconds. */
const RETRY = 1000

/** Opens the replica of a feed; where it cannot be stored, in memory. */
export async function openReplica(key: string): Promise<{ feed: Feed; storage: string }> {
  try {
    await removeOthers(key)
    const feed = ddatabase(`${FOLDER}/${key}`, key)
    await feed.ready()
    return {
      feed,
      storage: 'The blocks are kept in this browser: reload the page, and they are still there.'
    }
  } catch (error) {
    const feed = ddatabase(RAM as Storage, key)
    await feed.ready()
    const { code } = error as { code?: string }
    const reason = code === 'ELOCKED' ? 'another tab has them open' : 'this browser cannot store them'
    return { feed, storage: `The blocks are in memory only: ${reason} (${code}).` }
  }
}

/** Deletes what was kept of feeds of earlier runs: each run of the example makes a new one. */
async function removeOthers(key: string): Promise<void> {
  const root = await navigator.storage?.getDirectory?.()
  const folder = await root?.getDirectoryHandle(FOLDER).catch(() => null)
  if (!folder) return
  for await (const name of folder.keys()) {
    // Another tab may still have it open.
    if (name !== key) await folder.removeEntry(name, { recursive: true }).catch(() => {})
  }
}

/** A connection to the process that has the feed, made again whenever it breaks. */
export class Connection {
  readonly #feed: Feed
  readonly #url: string
  readonly #onchange: (connected: boolean) => void
  #socket: WebSocket | null = null
  #wanted = false

  constructor(feed: Feed, url: string, onchange: (connected: boolean) => void) {
    this.#feed = feed
    this.#url = url
    this.#onchange = onchange
  }

  /** Connects, and stays connected. */
  start(): void {
    this.#wanted = true
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    const stream = this.#feed.replicate(true, { live: true })
    // The end of the socket is all that counts.
    stream.on('error', () => socket.close())
    socket.addEventListener('open', () => this.#onchange(true))
    socket.addEventListener('close', () => {
      if (this.#socket !== socket) return
      this.#onchange(false)
      setTimeout(() => {
        if (this.#wanted && this.#socket === socket) this.start()
      }, RETRY)
    })
    replicateOver(socket, stream)
  }

  /** Ends the connection. */
  stop(): void {
    this.#wanted = false
    this.#socket?.close(1000)
    this.#socket = null
    this.#onchange(false)
  }
}
