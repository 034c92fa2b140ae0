import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { FeedWatch } from './feed-watch.ts'

/** How often pages are told what has changed, in milliseconds. */
const EVERY = 500
/** How often something is sent even if nothing has changed, so that a lost connection is noticed. */
const ALIVE = 15_000

/** Open pages that follow the feeds by server-sent events: `feeds`, those that changed, and `feed`, the one looked at. */
export class Live {
  readonly #watches: readonly FeedWatch[]
  // One for each page: a signal that is combined of others leaves something behind at those that stay, in Node 20 and 22.
  readonly #followers = new Set<AbortController>()
  #ended = false

  constructor(watches: readonly FeedWatch[]) {
    this.#watches = watches
  }

  /** Pages that follow. */
  get followers(): number {
    return this.#followers.size
  }

  /** Answers a page, for as long as it stays. @param selected - the feed that it looks at */
  follow(context: Context, selected: FeedWatch | undefined): Response {
    return streamSSE(context, async (stream) => {
      const left = new AbortController()
      const { signal } = left
      stream.onAbort(() => left.abort())
      if (this.#ended) left.abort()
      const sent = new Map<string, string>()
      let spoke = performance.now()
      const say = async (event: string, data: string) => {
        spoke = performance.now()
        await stream.writeSSE({ event, data })
      }
      this.#followers.add(left)
      try {
        while (!signal.aborted) {
          const changed = this.#watches
            .map((watch) => JSON.stringify(watch.summary()))
            .filter((summary, at) => {
              const same = sent.get(String(at)) === summary
              sent.set(String(at), summary)
              return !same
            })
          if (changed.length > 0) await say('feeds', `[${changed.join(',')}]`)
          // The time in it makes every one different: rates go down to zero in front of the reader's eyes.
          if (selected?.usable) await say('feed', JSON.stringify(selected.detail()))
          if (performance.now() - spoke > ALIVE) await say('alive', '')
          await pause(EVERY, signal)
        }
      } finally {
        this.#followers.delete(left)
      }
    })
  }

  /** Ends all connections. */
  close(): void {
    this.#ended = true
    for (const follower of this.#followers) follower.abort()
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
}
