/** What the suites of this folder share: feeds in memory, and answers as codes. */
import type { DDatabaseError, FeedOptions, Storage } from '../../src/index.ts'
import ddatabase, { type Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { rejection, within } from '../helpers/watchdog.ts'

/** A storage function on files of its own. */
export function memory(files = new MemoryFiles()): Storage {
  return files.factory() as unknown as Storage
}

/** An open feed in memory with these blocks. */
export async function feedOf<T = Uint8Array>(
  values: readonly unknown[],
  options: FeedOptions<T> = {},
  files = new MemoryFiles()
): Promise<Feed<T>> {
  const feed = ddatabase<T>(memory(files), options)
  await within(feed.ready(), 'ready')
  if (values.length > 0) await within(feed.append(values as T[]), 'append')
  return feed
}

/** An open, empty replica of a feed. */
export async function replicaOf(source: Feed, options: FeedOptions = {}): Promise<Feed> {
  const replica = ddatabase(memory(), source.key, { sparse: true, ...options })
  await within(replica.ready(), 'ready')
  return replica
}

/** Copies blocks from a feed to its replica by proof and put. */
export async function copyBlocks(source: Feed, replica: Feed, ...blocks: number[]): Promise<void> {
  for (const block of blocks) {
    await within(replica.put(block, await source.get(block), await source.proof(block)), `put(${block})`)
  }
}

/** The error that a call is answered with. */
export function failure(call: PromiseLike<unknown>, what = 'the call'): Promise<DDatabaseError> {
  return rejection(within(call, what), what) as Promise<DDatabaseError>
}

/** `code: message` of the error that a call is answered with. */
export async function refusal(call: PromiseLike<unknown>, what = 'the call'): Promise<string> {
  const { code, message } = await failure(call, what)
  return `${code}: ${message}`
}

/** The code of what `run` throws at once, or a word for "nothing". */
export function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return (error as { code?: unknown }).code ?? String(error)
  }
  return 'nothing was thrown'
}

/** Whether a promise has settled after everything that was under way. */
export async function settled(promise: PromiseLike<unknown>): Promise<boolean> {
  let done = false
  const note = () => {
    done = true
  }
  promise.then(note, note)
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  return done
}

/** Blocks as text. */
export function texts(blocks: readonly unknown[]): string[] {
  return blocks.map((block) => Buffer.from(block as Uint8Array).toString())
}

/** A method by its name, for calls that the types forbid or that tables make. */
export function method(feed: object, name: string): (...args: unknown[]) => unknown {
  const found = (feed as Record<string, (...args: unknown[]) => unknown>)[name]
  if (typeof found !== 'function') throw new Error(`no method ${name}`)
  return found.bind(feed)
}
