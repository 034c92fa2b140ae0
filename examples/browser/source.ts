import { memoryUsage } from 'node:process'
import RAM from 'random-access-memory'
import ddatabase, { type Feed, type Storage } from '../../src/index.ts'

/** What the feed starts with: an archive to be fetched. */
const ARCHIVE_BLOCKS = 1500
const ARCHIVE_BLOCK_SIZE = 24 * 1024
/** How often a block is appended afterwards, in milliseconds. */
const INTERVAL = 400

/** A feed in memory that grows: first an archive of random bytes, then readings of this process. */
export class Source {
  readonly feed: Feed
  #timer: NodeJS.Timeout | undefined
  #cpu = process.cpuUsage()

  private constructor(feed: Feed) {
    this.feed = feed
  }

  /** Makes the feed. */
  static async create(): Promise<Source> {
    const feed = ddatabase(RAM as Storage)
    const archive: Uint8Array[] = []
    for (let i = 0; i < ARCHIVE_BLOCKS; i++) {
      const block = Buffer.alloc(ARCHIVE_BLOCK_SIZE)
      // Random enough to be told apart, and quickly made.
      for (let at = 0; at < block.byteLength; at += 4)
        block.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, at)
      archive.push(block)
    }
    await feed.append(archive)
    return new Source(feed)
  }

  /** Appends a reading now and then. */
  start(): void {
    this.#timer = setInterval(() => void this.#append(), INTERVAL)
  }

  /** Ends the feed. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.feed.close()
  }

  async #append(): Promise<void> {
    const { user, system } = process.cpuUsage(this.#cpu)
    this.#cpu = process.cpuUsage()
    const reading = {
      time: new Date().toISOString(),
      memory: `${(memoryUsage.rss() / 1e6).toFixed(1)} MB`,
      processor: `${((user + system) / (10 * INTERVAL)).toFixed(1)} %`
    }
    await this.feed.append(Buffer.from(JSON.stringify(reading)))
  }
}
