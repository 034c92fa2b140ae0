/**
 * The manifest of a folder in a feed. The blocks of the files come first, file after file; the last block of the feed
 * is the manifest, which tells which blocks are which file. README.md, "Folders in feeds", describes it for other programs.
 */
import { type Feed, MAX_BLOCK_SIZE } from 'ddatabase'
import { Failure } from '../exit.ts'

/** What the manifest calls itself; a block without it is no manifest. */
const FORMAT = 'ddatabase-folder'
const VERSION = 1

/** Bytes of entries in one block: a manifest that is longer has its entries in several blocks. */
const PART_BYTES = 1024 * 1024

/** Bytes of entries in all blocks together: several millions of files. More of them would not fit into memory. */
const MAX_BYTES = 512 * 1024 * 1024

/** Blocks of a manifest that are read at once: whoever has written it decides how large they are. */
const PARTS_AT_ONCE = 4

/** One file, folder or symbolic link. */
export interface Entry {
  /** Names joined by `/`, below the folder; never empty, absolute, or with `.` or `..` in it. */
  path: string
  type: 'file' | 'directory' | 'symlink'
  /** Permission bits, 0 to 0o777. */
  mode: number
  /** Time of the last change, in milliseconds since 1970. */
  mtime: number
  /** Bytes of a file, 0 for everything else. */
  size: number
  /** First block of a file. */
  block: number
  /** How many blocks a file has. */
  blocks: number
  /** Where a symbolic link leads, as it is written in the link. Only on symbolic links. */
  target?: string
}

/** What a feed with a folder holds. */
export interface Manifest {
  /** `file`: one file was imported, which can be exported under another name. */
  root: 'folder' | 'file'
  entries: Entry[]
  /** The block of the manifest, the last of the feed. */
  index: number
}

interface StoredManifest {
  format: string
  version: number
  root: 'folder' | 'file'
  /** The entries, or ... */
  entries?: Entry[]
  /** ... the blocks before this one that hold them, each a JSON array. */
  parts?: number
}

/** How a manifest is read. */
export interface ReadManifestOptions {
  /** Fetch it from peers if it is not here. Default false. */
  wait?: boolean
  signal?: AbortSignal
  /** Read the feed as it was when it had so many blocks. */
  length?: number
}

/**
 * The blocks of a manifest: one, or several of which the last is the manifest.
 * Fails with exit code 4 if it would be larger than what is read.
 */
export function encodeManifest(root: Manifest['root'], entries: readonly Entry[]): Uint8Array[] {
  const parts: string[] = []
  let part: string[] = []
  let bytes = 0
  let total = 0
  const close = (): void => {
    if (part.length > 0) parts.push(`[${part.join(',')}]`)
    part = []
    bytes = 0
  }
  for (const entry of entries) {
    const text = JSON.stringify(entry)
    const length = Buffer.byteLength(text)
    if (bytes + length > PART_BYTES) close()
    part.push(text)
    bytes += length
    total += length
    if (total > MAX_BYTES) throw tooLarge()
  }
  close()
  const head: StoredManifest = { format: FORMAT, version: VERSION, root }
  if (parts.length <= 1) {
    return [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"entries":${parts[0] ?? '[]'}}`)]
  }
  return [...parts, JSON.stringify({ ...head, parts: parts.length })].map((text) => Buffer.from(text))
}

/**
 * The manifest that is the last block of the feed, null if that is none, or if it is not here.
 * Fails with exit code 6 for one that makes no sense, and with 4 for one of a later version.
 */
export async function manifestOf(
  feed: Feed,
  { wait = false, signal, length = feed.length }: ReadManifestOptions = {}
): Promise<Manifest | null> {
  const index = length - 1
  if (index < 0 || (!wait && !feed.has(index))) return null
  const stored = parse(await feed.get(index, { wait, signal }))
  if (stored === null) return null
  if (!isWhole(stored.version)) throw malformed('version')
  if (stored.version !== VERSION) {
    throw new Failure(
      'files',
      `The folder in this feed has format ${stored.version}; a newer ddatabase-cli can read it.`
    )
  }
  if (stored.root !== 'folder' && stored.root !== 'file') throw malformed('root')
  const entries: Entry[] = []
  const add = (part: unknown): void => {
    if (!Array.isArray(part)) throw malformed('entries')
    for (const entry of part) {
      checkEntry(entry, index, entries.length)
      entries.push(entry)
    }
  }
  if (stored.parts === undefined) {
    add(stored.entries)
  } else {
    if (!isWhole(stored.parts) || stored.parts > index) throw malformed('parts')
    const first = index - stored.parts
    if (!wait && !feed.has(first, index)) return null
    let bytes = 0
    for (let at = first; at < index; at += PARTS_AT_ONCE) {
      const blocks = await feed.getBatch(at, Math.min(at + PARTS_AT_ONCE, index), { wait, signal })
      for (const block of blocks) {
        bytes += block.byteLength
        if (bytes > MAX_BYTES) throw tooLarge()
        add(parseJson(block))
      }
    }
  }
  if (stored.root === 'file' && (entries.length !== 1 || entries[0]!.type !== 'file')) {
    throw malformed('root')
  }
  return { root: stored.root, entries, index }
}

function parse(block: Uint8Array): StoredManifest | null {
  if (block.byteLength > MAX_BLOCK_SIZE) return null
  const value = parseJson(block) as Partial<StoredManifest> | null
  return typeof value === 'object' && value !== null && value.format === FORMAT
    ? (value as StoredManifest)
    : null
}

function parseJson(block: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(block).toString('utf8'))
  } catch {
    return null
  }
}

// What is written where is checked by the export; this is about the blocks and the types.
function checkEntry(value: unknown, index: number, position: number): void {
  const entry = value as Partial<Entry> | null
  const place = `entry ${position}`
  if (typeof entry !== 'object' || entry === null) throw malformed(place)
  const { path, type, mode, mtime, size, block, blocks, target } = entry
  if (typeof path !== 'string') throw malformed(place)
  if (type !== 'file' && type !== 'directory' && type !== 'symlink') {
    throw malformed(`${place}, which is no file, folder or link,`)
  }
  // What a `Date` can hold.
  if (typeof mtime !== 'number' || !(Math.abs(mtime) <= 8.64e15)) throw malformed(place)
  if (!isWhole(mode) || mode > 0o777 || !isWhole(size) || !isWhole(block) || !isWhole(blocks))
    throw malformed(place)
  if (type === 'file' ? block + blocks > index || (blocks === 0) !== (size === 0) : blocks !== 0)
    throw malformed(place)
  if ((type === 'symlink') !== (typeof target === 'string')) throw malformed(place)
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function malformed(what: string): Failure {
  return new Failure(
    'damage',
    `The manifest of the folder in this feed makes no sense (${what}); \`ddatabase cat\` shows the blocks as they are.`
  )
}

function tooLarge(): Failure {
  return new Failure(
    'files',
    'The manifest of the folder has more than 512 MiB, which is too much to be read; use several folders.'
  )
}
