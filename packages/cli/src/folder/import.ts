import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Feed } from 'ddatabase'
import { BATCH_BYTES, BLOCK_SIZE } from '../chunks.ts'
import { codeOf, Failure } from '../exit.ts'
import { explain } from '../explain.ts'
import { stopIfAsked } from '../interrupt.ts'
import type { Progress } from '../progress.ts'
import { printable } from '../units.ts'
import { beginImport, endImport, unfinishedImport } from './journal.ts'
import { type Entry, encodeManifest, type Manifest, manifestOf } from './manifest.ts'
import type { Found, Scanned } from './scan.ts'

/** What an import came to. */
export interface Imported {
  files: number
  /** Files that are in the feed already, as they are now. */
  unchanged: number
  /** Blocks that were appended, the manifest among them. */
  blocks: number
  /** Blocks that were found from an import that did not get to its end. */
  resumed: number
  /** False: the feed holds exactly this already, and nothing was appended. */
  changed: boolean
}

const RESUMES = 'what was imported so far is kept, and the same command goes on after it'

/**
 * Appends the files, then the manifest. Files that the last manifest has with the same size and time are not appended
 * again, unless `full`. An import that was cut short is gone on with.
 *
 * Fails with exit code 4 if a file is changed meanwhile or cannot be read any more; no manifest is written then.
 */
export async function importInto(
  feed: Feed,
  folder: string,
  scanned: Scanned,
  full: boolean,
  progress: Progress,
  signal: AbortSignal
): Promise<Imported> {
  // After the last manifest, or wherever the feed ends.
  const first = (await unfinishedImport(folder, feed.length)) ?? feed.length
  // What an import appended before it was cut short is no manifest, also where it looks like one.
  const last = await manifestOf(feed, { length: first })
  const known = new Map(full ? [] : (last?.entries ?? []).map((entry) => [entry.path, entry]))
  const run = new Import(feed, first, total(scanned, known), progress, signal)

  const entries: Entry[] = []
  let unchanged = 0
  let started = false
  for (const found of scanned.found) {
    const before = known.get(found.path)
    if (found.type === 'file' && before !== undefined && isUnchanged(found, before)) {
      entries.push({ ...toEntry(found), block: before.block, blocks: before.blocks })
      unchanged++
    } else {
      if (found.type === 'file' && !started) {
        await beginImport(folder, first)
        started = true
      }
      entries.push(found.type === 'file' ? await run.file(found) : toEntry(found))
    }
  }
  stopIfAsked(signal, RESUMES)
  const files = entries.filter(({ type }) => type === 'file').length
  if (last !== null && first === last.index + 1 && !started && isSame(last, scanned.root, entries)) {
    if (feed.length === first) return { files, unchanged, blocks: 0, resumed: 0, changed: false }
  }
  const manifest = encodeManifest(scanned.root, entries)
  if (started) await beginImport(folder, first, feed.length)
  await run.end(manifest)
  await feed.flush()
  await endImport(folder)
  return { files, unchanged, blocks: run.appended, resumed: run.resumed, changed: true }
}

function toEntry({ path, type, mode, mtime, size, target }: Found): Entry {
  const entry = { path, type, mode, mtime, size, block: 0, blocks: 0 }
  return target === undefined ? entry : { ...entry, target }
}

function isUnchanged(found: Found, before: Entry): boolean {
  return before.type === 'file' && before.size === found.size && before.mtime === found.mtime
}

function isSame(last: Manifest, root: Manifest['root'], entries: readonly Entry[]): boolean {
  const text = (entry: Entry): string => JSON.stringify(inOrder(entry))
  if (last.root !== root || last.entries.length !== entries.length) return false
  return entries.every((entry, i) => text(entry) === text(last.entries[i]!))
}

function inOrder({ path, type, mode, mtime, size, block, blocks, target }: Entry): Entry {
  const entry = { path, type, mode, mtime, size, block, blocks }
  return target === undefined ? entry : { ...entry, target }
}

function total(scanned: Scanned, known: ReadonlyMap<string, Entry>): number {
  let bytes = 0
  for (const found of scanned.found) {
    const before = known.get(found.path)
    if (before === undefined || !isUnchanged(found, before)) bytes += found.size
  }
  return bytes
}

// What was a file may have become something else: no link is followed, and no pipe waited for. Windows has neither.
const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

class Import {
  /** Blocks that were appended. */
  appended = 0
  /** Blocks that were there from the last time. */
  resumed = 0
  readonly #feed: Feed
  readonly #total: number
  readonly #progress: Progress
  readonly #signal: AbortSignal
  // The next block, appended or found.
  #next: number
  #resuming: boolean
  #bytes = 0
  #found = 0

  constructor(feed: Feed, first: number, total: number, progress: Progress, signal: AbortSignal) {
    this.#feed = feed
    this.#next = first
    this.#resuming = first < feed.length
    this.#total = total
    this.#progress = progress
    this.#signal = signal
  }

  /** Appends a file. */
  async file(found: Found): Promise<Entry> {
    const shown = printable(found.path)
    let handle: FileHandle
    try {
      handle = await open(found.source, READ)
    } catch (error) {
      throw lost(shown, error)
    }
    try {
      const blocks = Math.ceil(found.size / BLOCK_SIZE)
      const entry = { ...toEntry(found), block: blocks === 0 ? 0 : this.#next, blocks }
      await checkUnchanged(handle, found)
      const restart = this.#next
      for (let offset = 0; offset < found.size; offset += BATCH_BYTES) {
        stopIfAsked(this.#signal, RESUMES)
        const batch = await readBlocks(handle, offset, Math.min(found.size - offset, BATCH_BYTES), shown)
        const whole = await this.#put(batch)
        // What an earlier run had appended of this file is of other content: it is appended from its start.
        if (!whole) return await this.#again(handle, found, entry, restart)
      }
      await checkUnchanged(handle, found)
      return entry
    } finally {
      await handle.close()
    }
  }

  /** Appends the manifest, in one batch: it is there as a whole, or not at all. */
  async end(blocks: Uint8Array[]): Promise<void> {
    this.#resuming = false
    await this.#feed.append(blocks)
    this.appended += blocks.length
  }

  async #again(handle: FileHandle, found: Found, entry: Entry, restart: number): Promise<Entry> {
    this.#resuming = false
    const wasted = this.#next - restart
    this.resumed = Math.max(0, this.resumed - wasted)
    this.#next = this.#feed.length
    const block = this.#next
    const shown = printable(found.path)
    for (let offset = 0; offset < found.size; offset += BATCH_BYTES) {
      stopIfAsked(this.#signal, RESUMES)
      await this.#put(await readBlocks(handle, offset, Math.min(found.size - offset, BATCH_BYTES), shown))
    }
    await checkUnchanged(handle, found)
    return { ...entry, block }
  }

  /** Appends a batch, or finds it; false if what is found instead is something else. */
  async #put(batch: Uint8Array[]): Promise<boolean> {
    const feed = this.#feed
    let present = 0
    if (this.#resuming) {
      present = Math.min(batch.length, feed.length - this.#next)
      if (!(await this.#startsWith(batch.slice(0, present)))) return false
      if (this.#next + present === feed.length) this.#resuming = false
    }
    const missing = batch.slice(present)
    if (missing.length > 0) await feed.append(missing)
    this.#next += batch.length
    this.resumed += present
    this.appended += missing.length
    for (const [i, block] of batch.entries()) {
      this.#bytes += block.byteLength
      if (i < present) this.#found += block.byteLength
    }
    this.#progress.at({ done: Math.min(this.#bytes, this.#total), total: this.#total, before: this.#found })
    return true
  }

  async #startsWith(blocks: readonly Uint8Array[]): Promise<boolean> {
    const first = this.#next
    if (!this.#feed.has(first, first + blocks.length)) return false
    const stored = await this.#feed.getBatch(first, first + blocks.length)
    return stored.every((block, i) => Buffer.compare(block, blocks[i]!) === 0)
  }
}

async function readBlocks(
  handle: FileHandle,
  offset: number,
  length: number,
  shown: string
): Promise<Uint8Array[]> {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let at = 0; at < length; ) {
    let read: number
    try {
      read = (await handle.read(bytes, at, length - at, offset + at)).bytesRead
    } catch (error) {
      throw lost(shown, error)
    }
    if (read === 0) throw changed(shown)
    at += read
  }
  return Array.from({ length: Math.ceil(length / BLOCK_SIZE) }, (_, i) =>
    bytes.subarray(i * BLOCK_SIZE, (i + 1) * BLOCK_SIZE)
  )
}

async function checkUnchanged(handle: FileHandle, found: Found): Promise<void> {
  const stats = await handle.stat()
  const { size, mtimeMs } = stats
  if (!stats.isFile() || size !== found.size || Math.round(mtimeMs) !== found.mtime)
    throw changed(printable(found.path))
}

function changed(shown: string, cause?: unknown): Failure {
  return new Failure(
    'files',
    `${shown} was changed while it was read; import again when nobody writes to it.`,
    cause
  )
}

function lost(shown: string, error: unknown): Failure {
  if (codeOf(error) === 'ENOENT') {
    return new Failure('files', `${shown} was removed during the import; run the same command again.`, error)
  }
  // A link, which systems tell in two ways, or a socket.
  if (['ELOOP', 'EMLINK', 'ENXIO'].includes(codeOf(error) ?? '')) return changed(shown, error)
  return explain(error, shown)
}
