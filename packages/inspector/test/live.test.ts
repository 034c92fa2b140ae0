/** Pages that follow the feeds, without a network. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Hono } from 'hono'
import test from 'tape'
import { within } from '../../../test/helpers/watchdog.ts'
import { Live } from '../src/live.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function pagesOf(live: Live): () => Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const app = new Hono().get('/', (context) => live.follow(context, undefined))
  return async () => (await app.request('/')).body!.getReader()
}

test('live: pages that went leave nothing behind', async (t) => {
  const live = new Live([])
  const open = pagesOf(live)
  const pages = async (count: number) => {
    for (let i = 0; i < count; i++) await (await open()).cancel()
  }
  const used = async () => {
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      collect()
    }
    return process.memoryUsage().heapUsed
  }
  await pages(2000)
  // What is left behind is so each time; what the engine keeps of its own is not.
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3 && least >= 40; round++) {
    const before = await used()
    await pages(10_000)
    least = Math.min(least, ((await used()) - before) / 10_000)
  }
  t.ok(least < 40, `${least.toFixed(1)} bytes a page`)
  t.equal(live.followers, 0)
})

test('live: closing ends all pages, also those that come later', async (t) => {
  const live = new Live([])
  const open = pagesOf(live)
  const readers = [await open(), await open()]
  t.equal(live.followers, 2)
  live.close()
  readers.push(await open())
  for (const reader of readers) {
    const ended = (async () => {
      while (!(await reader.read()).done);
    })()
    await within(ended, 'the end of a page')
  }
  t.equal(live.followers, 0)
})
