import { access, readdir } from 'node:fs/promises'
import { Feed, type FeedOptions } from 'ddatabase'
import { Failure } from './exit.ts'
import { about, explain } from './explain.ts'
import type { Output } from './output.ts'
import { tellTrouble } from './trouble.ts'

const FEED_FILES: ReadonlySet<string> = new Set([
  'key',
  'secret_key',
  'tree',
  'data',
  'bitfield',
  'signatures'
])

/** What a folder holds. */
export type FolderContent = 'nothing' | 'feed' | 'other'

/** Looks what is in a folder, without touching it. Fails with exit code 4 if it cannot be read, or is a file. */
export async function contentOf(folder: string): Promise<FolderContent> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'nothing'
    throw explain(error, folder)
  }
  if (names.some((name) => FEED_FILES.has(name))) return 'feed'
  return names.length === 0 ? 'nothing' : 'other'
}

/** Opens the feed that is in a folder; never makes one. Fails with exit code 3 if there is none. */
export async function openFeed(out: Output, folder: string, options: FeedOptions = {}): Promise<Feed> {
  const content = await contentOf(folder)
  if (content !== 'feed') {
    const what = content === 'other' ? 'is no feed' : (await exists(folder)) ? 'is empty' : 'does not exist'
    throw new Failure(
      'feed',
      `The folder ${folder} ${what}; make a feed with \`ddatabase create\` or \`ddatabase clone\`, or check the path.`
    )
  }
  return open(out, folder, null, { createIfMissing: false, ...options })
}

/** Opens a feed, or makes one in a folder that is empty or absent. Fails with exit code 3 if the folder holds else. */
export async function openOrMakeFeed(
  out: Output,
  folder: string,
  key: Uint8Array | null,
  options: FeedOptions = {}
): Promise<Feed> {
  if ((await contentOf(folder)) === 'other') {
    throw new Failure(
      'feed',
      `The folder ${folder} holds other files; name one that is empty or does not exist.`
    )
  }
  return open(out, folder, key, options)
}

async function open(
  out: Output,
  folder: string,
  key: Uint8Array | null,
  options: FeedOptions
): Promise<Feed> {
  const feed = new Feed(folder, key, options)
  tellTrouble(feed, folder, out)
  try {
    await feed.ready()
    return feed
  } catch (error) {
    await feed.close().catch(() => {})
    throw explain(error, folder)
  }
}

/** Does something with a feed and closes it, whatever happens. */
export async function using<T>(feed: Feed, folder: string, work: (feed: Feed) => Promise<T>): Promise<T> {
  return about(folder, async () => {
    let result: T
    try {
      result = await work(feed)
    } catch (error) {
      // What went wrong first is what is told.
      await feed.close().catch(() => {})
      throw error
    }
    await feed.close()
    return result
  })
}

/** Whether there is something. */
export function exists(folder: string): Promise<boolean> {
  return access(folder).then(
    () => true,
    () => false
  )
}

/** Whether a word is a public key: 64 hexadecimal digits. */
export function isKey(word: string): boolean {
  return /^[0-9a-fA-F]{64}$/.test(word)
}

/** A public key. Fails with exit code 2 if the word is none. */
export function parseKey(word: string): Uint8Array {
  if (!isKey(word)) {
    throw new Failure(
      'usage',
      `"${word}" is no key: a key has 64 hexadecimal digits, \`ddatabase info\` shows it.`
    )
  }
  return Buffer.from(word, 'hex')
}
