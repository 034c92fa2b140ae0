import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import {
  access,
  chmod,
  type FileHandle,
  lstat,
  lutimes,
  mkdir,
  open,
  readlink,
  realpath,
  rename,
  rm,
  symlink,
  utimes
} from 'node:fs/promises'
import path from 'node:path'
import { DDatabaseError } from 'ddatabase'
import { codeOf, Failure } from '../exit.ts'
import { about, explain } from '../explain.ts'
import { stopIfAsked } from '../interrupt.ts'
import type { Progress } from '../progress.ts'
import { blocksOf, type Source } from '../source.ts'
import { printable } from '../units.ts'
import type { Entry, Manifest } from './manifest.ts'
import { MAX_LINKS, targetOf, unsafeEntries } from './paths.ts'

/** How an export deals with what is in its way. */
export interface ExportOptions {
  /** Replace files that are there and differ. */
  overwrite: boolean
  /** Leave out what would leave the folder, instead of exporting nothing. */
  skipUnsafe: boolean
  /** The folder of the feed, where it really is: nothing is written to it. */
  own?: string | null
}

/** What an export came to. */
export interface Exported {
  files: number
  folders: number
  links: number
  /** Files that were there already with the same size and time. */
  unchanged: number
  bytes: number
  /** Paths that were left out because they would leave the folder. */
  skipped: string[]
}

const RESUMES = 'each file in the target is whole, and the same command goes on with the others'

// So that a reader sees no other file of this name, and the next run can tell it is nothing.
const PART = '.ddatabase-part'

/**
 * Writes the files, folders and links of a manifest below `target`, with their modes and times. Everything is checked
 * before anything is written, and a file takes its name when it is whole.
 *
 * Fails with exit code 4 for a manifest with unsafe paths, and for what is in the way.
 */
export async function exportFolder(
  source: Source,
  manifest: Manifest,
  target: string,
  options: ExportOptions,
  progress: Progress,
  signal: AbortSignal
): Promise<Exported> {
  const unsafe = await unsafeEntries(manifest.entries, signal)
  if (unsafe.length > 0 && !options.skipUnsafe) throw refused(unsafe)
  const left = new Set(unsafe.map(({ path }) => path))
  const entries = manifest.entries.filter((entry) => !left.has(entry.path) && !isBelow(entry.path, left))
  const kept = new Set(entries)
  const run = new Export(source, target, options, progress, signal, entries)
  await run.checkPlace()
  const done = await run.write()
  return {
    ...done,
    skipped: manifest.entries.filter((entry) => !kept.has(entry)).map(({ path }) => path)
  }
}

/**
 * Writes blocks `start` … `end` − 1 as one file, whole or not at all, and gives it its mode and time. Fails with exit code 4 if
 * something has taken its name meanwhile, unless that may be replaced.
 */
export async function exportFile(
  source: Source,
  file: string,
  blocks: { start: number; end: number; size: number },
  attributes: { mode: number; mtime: number } | null,
  { signal, overwrite, written }: { signal: AbortSignal; overwrite: boolean; written(bytes: number): void }
): Promise<void> {
  const part = partOf(file)
  let handle: FileHandle | null = null
  try {
    // Never through a link that somebody has put there.
    handle = await open(part, 'wx', 0o600)
    let size = 0
    for await (const block of blocksOf(source, { start: blocks.start, end: blocks.end, signal })) {
      await handle.writeFile(block)
      size += block.byteLength
      if (size > blocks.size) break
      written(block.byteLength)
    }
    stopIfAsked(signal, RESUMES)
    if (size !== blocks.size) {
      throw new Failure(
        'damage',
        `The manifest says ${blocks.size} bytes for ${printable(file)}, but its blocks have others.`
      )
    }
    await handle.chmod(attributes?.mode ?? 0o666 & ~process.umask())
    if (attributes !== null) await handle.utimes(timeOf(attributes), timeOf(attributes))
    await handle.sync()
    await handle.close()
    handle = null
    if (!overwrite && (await lookAt(file)) !== null) {
      throw new Failure('files', `${printable(file)} is there now; --overwrite replaces such files.`)
    }
    await rename(part, file)
  } catch (error) {
    await handle?.close().catch(() => {})
    await rm(part, { force: true }).catch(() => {})
    throw error
  }
}

class Export {
  readonly #source: Source
  readonly #target: string
  readonly #options: ExportOptions
  readonly #progress: Progress
  readonly #signal: AbortSignal
  readonly #entries: readonly Entry[]
  readonly #total: number
  // Folders below the target that were seen to be folders, and no links.
  readonly #folders = new Set<string>([''])
  #bytes = 0
  #before = 0

  constructor(
    source: Source,
    target: string,
    options: ExportOptions,
    progress: Progress,
    signal: AbortSignal,
    entries: readonly Entry[]
  ) {
    this.#source = source
    this.#target = path.resolve(target)
    this.#options = options
    this.#progress = progress
    this.#signal = signal
    this.#entries = entries
    this.#total = entries.reduce((sum, { size }) => sum + size, 0)
  }

  /** Looks for what is in the way, before anything is written. */
  async checkPlace(): Promise<void> {
    const { own } = this.#options
    const feed = own == null ? null : await lookAt(own)
    for (const entry of this.#entries) {
      stopIfAsked(this.#signal, 'nothing was written yet')
      if (!(await this.#checkParents(entry.path, feed))) continue
      const there = await this.#look(entry.path)
      if (there === null) continue
      this.#refuseFeed(entry.path, there, feed)
      if (entry.type === 'directory' ? there.isDirectory() : await this.#isSame(entry, there)) continue
      if (there.isDirectory() || entry.type === 'directory' || !this.#options.overwrite)
        throw this.#inTheWay(entry, there, ', nothing was written')
    }
  }

  async write(): Promise<Omit<Exported, 'skipped'>> {
    const counted = { files: 0, folders: 0, links: 0, unchanged: 0, bytes: this.#total }
    await about(this.#target, () => mkdir(this.#target, { recursive: true }))
    const folders = this.#entries.filter(({ type }) => type === 'directory')
    for (const folder of folders) {
      await this.#makeFolder(folder.path)
      counted.folders++
    }
    for (const entry of this.#entries) {
      if (entry.type !== 'file') continue
      stopIfAsked(this.#signal, RESUMES)
      if (await this.#file(entry)) counted.files++
      else counted.unchanged++
    }
    // Links when all files are there: nothing is ever written through one.
    for (const entry of this.#entries) {
      if (entry.type !== 'symlink') continue
      stopIfAsked(this.#signal, RESUMES)
      await this.#link(entry)
      counted.links++
    }
    // The deepest first, and last of all: what is made in a folder changes its time, and may need its permission.
    for (const folder of folders.reverse()) {
      const place = this.#place(folder.path)
      await about(place, async () => {
        await utimes(place, timeOf(folder), timeOf(folder))
        await chmod(place, folder.mode)
      })
    }
    return counted
  }

  async #file(entry: Entry): Promise<boolean> {
    const place = this.#place(entry.path)
    await this.#makeParents(entry.path)
    const there = await this.#look(entry.path)
    if (there !== null && (await this.#isSame(entry, there))) {
      this.#before += entry.size
      this.#written(entry.size)
      await about(place, () => chmod(place, entry.mode))
      return false
    }
    this.#checkStill(entry, there)
    const { block: start, blocks, size } = entry
    try {
      await exportFile(this.#source, place, { start, end: start + blocks, size }, entry, {
        signal: this.#signal,
        overwrite: this.#options.overwrite,
        written: (bytes) => this.#written(bytes)
      })
    } catch (error) {
      if (codeOf(error) === 'ERR_BLOCK_NOT_DOWNLOADED') {
        throw new Failure(
          'missing',
          `Blocks of ${printable(entry.path)} are not here; fetch them with \`ddatabase sync\`, then export again.`,
          error
        )
      }
      throw DDatabaseError.is(error) ? error : explain(error, place)
    }
    return true
  }

  async #link(entry: Entry): Promise<void> {
    const place = this.#place(entry.path)
    await this.#makeParents(entry.path)
    const there = await this.#look(entry.path)
    if (there !== null && (await this.#isSame(entry, there))) return
    this.#checkStill(entry, there)
    if (!(await about(place, () => this.#staysInside(place, entry.target!)))) {
      throw new Failure(
        'files',
        `${printable(place)} would lead out of the target by way of a link that is there; remove that, or export to another folder.`
      )
    }
    await about(place, async () => {
      // A link cannot be replaced in one step under its own name.
      const part = partOf(place)
      await symlink(entry.target!, part)
      try {
        await lutimes(part, timeOf(entry), timeOf(entry))
        await rename(part, place)
      } catch (error) {
        await rm(part, { force: true })
        throw error
      }
    })
  }

  /** Whether a link stays in the target when it is followed through the links on the disk, of an earlier export or anybody's. */
  async #staysInside(link: string, target: string): Promise<boolean> {
    const top = await realpath(this.#target)
    const isInside = (place: string): boolean => place === top || isIn(place, top)
    let at = await realpath(path.dirname(link))
    // What is still to be followed, the next name last.
    let rest = targetOf(target).split('/').reverse()
    let links = 0
    while (rest.length > 0) {
      const name = rest.pop()!
      if (name === '' || name === '.') continue
      if (name === '..') {
        const above = path.dirname(at)
        if (isInside(at) && !isInside(above)) return false
        at = above
        continue
      }
      const place = path.join(at, name)
      if ((await lookAt(place))?.isSymbolicLink() !== true) {
        at = place
        continue
      }
      if (++links > MAX_LINKS) return false
      const next = await readlink(place)
      const { root } = path.parse(next)
      if (root !== '') at = path.resolve(root)
      rest = rest.concat(targetOf(next.slice(root.length)).split('/').reverse())
    }
    return isInside(at)
  }

  async #makeParents(name: string): Promise<void> {
    const parent = name.slice(0, Math.max(0, name.lastIndexOf('/')))
    if (parent !== '') await this.#makeFolder(parent)
  }

  async #makeFolder(name: string): Promise<void> {
    if (this.#folders.has(name)) return
    await this.#makeParents(name)
    const place = this.#place(name)
    await about(place, async () => {
      try {
        await mkdir(place, 0o700)
      } catch (error) {
        // No link: what follows would be written somewhere else.
        if (codeOf(error) !== 'EEXIST' || !(await lstat(place)).isDirectory()) throw error
        await this.#openFolder(place)
      }
    })
    this.#folders.add(name)
  }

  // An export that was cut short may have given a folder its mode, which may forbid to go on in it.
  async #openFolder(place: string): Promise<void> {
    const { mode } = await lstat(place)
    if ((mode & 0o700) !== 0o700) await chmod(place, (mode & 0o777) | 0o700)
  }

  /** Looks at the folders that something is in; false if there is nothing, or nothing to be seen, below them. */
  async #checkParents(name: string, feed: Stats | null): Promise<boolean> {
    for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
      const parent = name.slice(0, at)
      const there = await this.#look(parent)
      if (there === null) return false
      this.#refuseFeed(parent, there, feed)
      if (!there.isDirectory()) {
        const what = there.isSymbolicLink() ? 'a link, which may lead out of the target' : 'no folder'
        throw new Failure(
          'files',
          `${this.#place(parent)} is ${what}; remove it, or export to another folder.`
        )
      }
      if (await this.#willBeOpened(parent, there)) return false
    }
    return true
  }

  // What is in such a folder is looked at when it was opened, before anything is written to it.
  async #willBeOpened(folder: string, { mode, uid }: Stats): Promise<boolean> {
    if ((mode & 0o100) !== 0 || uid !== process.geteuid?.()) return false
    return access(this.#place(folder), constants.X_OK).then(
      () => false,
      () => true
    )
  }

  // By what it is: its name may be written in several ways.
  #refuseFeed(name: string, there: Stats, feed: Stats | null): void {
    if (feed === null || there.ino !== feed.ino || there.dev !== feed.dev) return
    throw new Failure(
      'files',
      `${printable(this.#place(name))} is the folder of the feed itself, nothing was written; export to another folder.`
    )
  }

  async #look(name: string): Promise<Stats | null> {
    const place = this.#place(name)
    return about(place, () => lookAt(place))
  }

  async #isSame(entry: Entry, there: Stats): Promise<boolean> {
    if (entry.type === 'symlink') {
      return there.isSymbolicLink() && targetOf(await readlink(this.#place(entry.path))) === entry.target
    }
    return there.isFile() && there.size === entry.size && Math.round(there.mtimeMs) === entry.mtime
  }

  /** What has come since {@link checkPlace}: somebody else's, or an entry whose name is the same on this disk. */
  #checkStill(entry: Entry, there: Stats | null): void {
    if (there !== null && (there.isDirectory() || !this.#options.overwrite)) {
      throw this.#inTheWay(entry, there, '')
    }
  }

  #inTheWay(entry: Entry, there: Stats, written: string): Failure {
    const place = this.#place(entry.path)
    if (there.isDirectory() || entry.type === 'directory') {
      return new Failure('files', `${place} is in the way${written}; remove it, or export to another folder.`)
    }
    return new Failure('files', `${place} is there and differs${written}; --overwrite replaces such files.`)
  }

  #place(name: string): string {
    return path.join(this.#target, ...name.split('/'))
  }

  #written(bytes: number): void {
    this.#bytes += bytes
    this.#progress.at({ done: this.#bytes, total: this.#total, before: this.#before })
  }
}

/** What is there, null for nothing. A link is not followed. */
async function lookAt(place: string): Promise<Stats | null> {
  try {
    return await lstat(place)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}

function isIn(place: string, folder: string): boolean {
  return place.startsWith(folder.endsWith(path.sep) ? folder : folder + path.sep)
}

/** What something is called until it is whole. */
function partOf(place: string): string {
  // Names have 255 bytes at most, and a character may take three of them.
  const name = path.basename(place).slice(0, 50)
  return path.join(path.dirname(place), `.${name}${PART}-${randomBytes(6).toString('hex')}`)
}

/** Not in seconds: Node takes times before 1970 for the present then. */
function timeOf({ mtime }: { mtime: number }): Date {
  return new Date(mtime)
}

function isBelow(name: string, left: ReadonlySet<string>): boolean {
  for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
    if (left.has(name.slice(0, at))) return true
  }
  return false
}

function refused(unsafe: readonly { path: string; reason: string }[]): Failure {
  const [first] = unsafe
  const more = unsafe.length === 1 ? '' : ` (and ${unsafe.length - 1} more)`
  return new Failure(
    'files',
    `${printable(first!.path)} is refused because ${first!.reason}${more}, so nothing was written; --skip-unsafe leaves such things out.`
  )
}
