import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { type CreateFeed, call, type Feed } from './feed.ts'
import type { ServeJob } from './jobs.ts'
import { joinSocket } from './link.ts'
import { type PeakWatch, watchPeak } from './memory.ts'

/** What the serving process is asked, one word in a line of its input; it answers each with a line of JSON. */
export type Ask = 'reopen' | 'watch' | 'usage'

/** The first line of its output. */
export interface Serving {
  readonly port: number
  /** The feed's key in hexadecimal. */
  readonly key: string
  /** Resident memory before the subject was loaded, in bytes. */
  readonly base: number
}

/** The answer to every question. */
export interface Usage {
  /** Seconds of processor time so far. */
  readonly cpu: number
  /** Peak resident memory since `watch`, in bytes; 0 before. */
  readonly peak: number
}

/** Serves a prepared feed on a loopback port, to whoever connects, until the process is ended. */
export async function serveFeed(create: CreateFeed, job: ServeJob, base: number): Promise<Serving> {
  let feed = await open()
  let watch: PeakWatch | null = null
  const server = createServer((socket) => joinSocket(feed.replicate(false, {}), socket))

  const answers: Record<Ask, () => void | Promise<void>> = {
    async reopen() {
      await call((callback) => feed.close(callback))
      feed = await open()
    },
    watch() {
      globalThis.gc?.()
      watch = watchPeak()
    },
    usage() {}
  }
  createInterface({ input: process.stdin }).on('line', async (ask) => {
    await answers[ask as Ask]()
    const { user, system } = process.cpuUsage()
    const usage: Usage = { cpu: (user + system) / 1e6, peak: watch?.highest() ?? 0 }
    process.stdout.write(`${JSON.stringify(usage)}\n`)
  })

  async function open(): Promise<Feed> {
    const opened = create(job.dir, null, {})
    await call((callback) => opened.ready(callback))
    return opened
  }

  const { port } = await new Promise<{ port: number }>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server.address() as { port: number }))
  })
  return { port, key: Buffer.from(feed.key).toString('hex'), base }
}
