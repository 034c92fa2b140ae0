/** Stored feeds to be damaged, and the ways to look at what becomes of them. */
import ddatabase, { type Damage, type Feed, type FeedOptions } from '../../src/index.ts'
import { copyBlocks, memory } from '../feed/feeds.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { within } from '../helpers/watchdog.ts'

/** The blocks of every feed here: of many sizes, one of them empty. */
export const BLOCKS: readonly Buffer[] = Array.from({ length: 37 }, (_, i) =>
  Buffer.from(i === 7 ? '' : `block ${i} ${'.'.repeat((i * 13) % 29)}`)
)

/** Byte offset of a block in the file `data`. */
export function offsetOf(block: number): number {
  return BLOCKS.slice(0, block).reduce((sum, { byteLength }) => sum + byteLength, 0)
}

/** Where the slot of a node begins in the file `tree`. */
export function slotOf(treeIndex: number): number {
  return 32 + 40 * treeIndex
}

/** A feed that was stored and left: appended in two batches and single blocks. */
export async function storedAuthor(options: FeedOptions = {}): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = ddatabase(memory(files), options)
  await feed.append(BLOCKS.slice(0, 9))
  for (const block of BLOCKS.slice(9, 20)) await feed.append(block)
  await feed.append(BLOCKS.slice(20))
  await feed.close()
  return files
}

/** The files of a copy that has all blocks of a stored feed, or some. */
export async function storedCopy(
  author: MemoryFiles,
  blocks = BLOCKS.map((_, i) => i)
): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const source = ddatabase(memory(author.clone()))
  await source.ready()
  const copy = ddatabase(memory(files), source.key, { sparse: true })
  await copy.ready()
  await copyBlocks(source, copy, ...blocks)
  await Promise.all([source.close(), copy.close()])
  return files
}

/** A static feed, finalized. */
export async function storedStatic(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = ddatabase(memory(files), { live: false })
  await feed.append(BLOCKS)
  await feed.finalize()
  await feed.close()
  return files
}

/** Flips a bit of a file. */
export function flip(files: MemoryFiles, file: string, offset: number, bit = 0): void {
  const content = Buffer.from(files.read(file)!)
  content[offset]! ^= 1 << bit
  files.put(file, content)
}

/** An open feed over files. */
export async function opened(files: MemoryFiles, options: FeedOptions = {}): Promise<Feed> {
  const feed = ddatabase(memory(files), options)
  await within(feed.ready(), 'ready')
  return feed
}

/** What the feed tells of damage, as it tells it. */
export function told(feed: Feed): [Damage, boolean][] {
  const list: [Damage, boolean][] = []
  feed.on('damage', (damage, repaired) => list.push([damage, repaired]))
  return list
}

/** Each block of the feed as text, or the code of the error that asking for it is answered with. */
export async function answers(feed: Feed, options: object = {}): Promise<string[]> {
  const list: string[] = []
  for (let block = 0; block < BLOCKS.length; block++) {
    list.push(
      await within(feed.get(block, options), `get(${block})`).then(
        (value) => String(value),
        (error: { code?: string }) => error.code ?? String(error)
      )
    )
  }
  return list
}

/** The blocks as text, with other answers in some places. */
export function expected(others: Record<number, string> = {}): string[] {
  return BLOCKS.map((block, i) => others[i] ?? String(block))
}
