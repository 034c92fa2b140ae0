/** Calls each method with a callback that throws, and prints what became of it; see callbacks.test.ts. */
import { within } from '../helpers/watchdog.ts'
import { feedOf, method } from './feeds.ts'
import { METHODS } from './methods.ts'

interface Seen {
  uncaught: string[]
  rejected: string[]
  calls: number
  after: string
}

let now: Seen
process.on('uncaughtException', (error) => now.uncaught.push(error.message))
process.on('unhandledRejection', (error) => now.rejected.push(String(error)))

const CALLS: Record<
  string,
  (feed: Awaited<ReturnType<typeof feedOf<unknown>>>) => Promise<unknown[]> | unknown[]
> = {
  has: () => [0],
  downloaded: () => [0, 2],
  download: () => [{ start: 0, end: 2 }]
}
for (const [name, { args }] of Object.entries(METHODS)) {
  CALLS[name] = async (feed) => {
    const { signature } = await feed.signature()
    const proof = await feed.proof(0)
    return args(feed, { signature, proof: () => proof })
  }
}

const seen: Record<string, Seen> = {}
for (const [name, argsOf] of Object.entries(CALLS)) {
  now = { uncaught: [], rejected: [], calls: 0, after: '' }
  seen[name] = now
  const feed = await feedOf<unknown>(['a', 'bc', 'def'])
  const args = await argsOf(feed)
  await within(
    new Promise<void>((resolve) => {
      method(feed, name)(...args, () => {
        now.calls++
        setImmediate(() => setImmediate(resolve))
        throw new Error(`thrown by the callback of ${name}`)
      })
    }),
    name
  )
  now.after = await within(
    feed.append('y').then(
      () => 'appended',
      (error) => String(error.code)
    ),
    'append'
  )
  await feed.close()
}
console.log(JSON.stringify(seen))
