/**
 * Which paths a manifest may have: none that leaves the folder it is exported to, by itself or by way of symbolic links
 * that the manifest makes. All of this is decided before anything is written.
 */
import { listening } from '../interrupt.ts'
import type { Entry } from './manifest.ts'

/** An entry that must not be written, and why. */
export interface Unsafe {
  path: string
  /** To be read after "because". */
  reason: string
}

/** As many links as systems follow. */
export const MAX_LINKS = 40

// As long as paths can be on most systems. What takes no longer than that is also looked through in no time.
const MAX_PATH = 4096

// What Windows reads as something else than a name: drives, streams, the other separator.
const WINDOWS_ONLY = /[\\:]/

/** The entries that must not be written. `windows`: names that mean something else there are refused as well. */
export async function unsafeEntries(
  entries: readonly Entry[],
  signal: AbortSignal,
  windows = process.platform === 'win32'
): Promise<Unsafe[]> {
  // There may be millions, and an author may make each of them a long way.
  const listen = listening(signal, 'nothing was written yet')
  const byPath = new Map<string, Entry>()
  const unsafe: Unsafe[] = []
  for (const entry of entries) {
    await listen()
    const reason = byPath.has(entry.path)
      ? 'it is named twice'
      : (badPath(entry.path, windows) ?? badTarget(entry))
    if (reason === null) byPath.set(entry.path, entry)
    else unsafe.push({ path: entry.path, reason })
  }
  const links: LinkAt = (path) => {
    const entry = byPath.get(path)
    return entry?.type === 'symlink' ? entry : undefined
  }
  // Of those with the same name there the last is made last.
  const folded = new Map<string, Entry>()
  for (const entry of byPath.values()) {
    await listen()
    if (entry.type === 'symlink') folded.set(fold(entry.path), entry)
  }
  const foldedLinks: LinkAt = (path) => folded.get(fold(path))
  for (const entry of byPath.values()) {
    await listen()
    const parent = foreignParent(entry.path, byPath)
    if (parent !== null) unsafe.push({ path: entry.path, reason: `${parent} is no folder` })
    else if (
      entry.type === 'symlink' &&
      (leaves(entry, links, windows) || leaves(entry, foldedLinks, windows))
    ) {
      unsafe.push({ path: entry.path, reason: 'it is a link that leads out of the folder' })
    }
  }
  return unsafe
}

/** Why a path cannot be that of an entry, null if it can. */
function badPath(path: string, windows: boolean): string | null {
  if (path.length > MAX_PATH) return 'its name is too long'
  if (path.includes('\0')) return 'its name holds a zero byte'
  if (path.startsWith('/')) return 'it is an absolute path'
  const names = path.split('/')
  if (names.includes('..')) return 'it leads out of the folder'
  if (names.includes('') || names.includes('.')) return 'it is no path that an import makes'
  if (windows && WINDOWS_ONLY.test(path)) return 'its name cannot be used on Windows'
  return null
}

/** Why a link cannot lead to where it does, whatever is there. */
function badTarget({ target }: Entry): string | null {
  return target !== undefined && target.length > MAX_PATH ? 'it is a link to a path that is too long' : null
}

/** A part of the path that the manifest has as something else than a folder. */
function foreignParent(path: string, byPath: ReadonlyMap<string, Entry>): string | null {
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const parent = path.slice(0, at)
    const type = byPath.get(parent)?.type
    if (type !== undefined && type !== 'directory') return parent
  }
  return null
}

/** The link of the manifest that has a path. */
type LinkAt = (path: string) => Entry | undefined

/** What is alike for names that some disks take for the same: capitals and others, composed letters and others. */
function fold(path: string): string {
  return path.toLowerCase().toUpperCase().normalize()
}

/** Whether a link leads out, in any step of following it through the other links of the manifest. */
function leaves(link: Entry, linkAt: LinkAt, windows: boolean): boolean {
  let at = above(link.path)
  // What is still to be followed, the next name last.
  let rest: string[] = []
  let links = 0
  const follow = (target: string): boolean => {
    if (target === '' || target.includes('\0') || target.startsWith('/')) return false
    if (windows && WINDOWS_ONLY.test(target)) return false
    rest = rest.concat(target.split('/').reverse())
    return ++links <= MAX_LINKS
  }
  if (!follow(link.target!)) return true
  while (rest.length > 0) {
    const name = rest.pop()!
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (at === '') return true
      at = above(at)
      continue
    }
    const place = at === '' ? name : `${at}/${name}`
    const next = linkAt(place)
    if (next === undefined) at = place
    else if (!follow(next.target!)) return true
  }
  return false
}

/** The folder that a path is in, empty for the outermost. */
function above(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/** What a link leads to, as manifests have it: Windows tells it with its own separator, however the link was made. */
export function targetOf(told: string, windows = process.platform === 'win32'): string {
  return windows ? told.replaceAll('\\', '/') : told
}

/** Whether a link, taken by itself, stays in the folder. */
export function isInside(path: string, target: string): boolean {
  if (target.startsWith('/') || /^[a-z]:/i.test(target)) return false
  let depth = path.split('/').length - 1
  for (const name of target.split('/')) {
    if (name === '..') depth--
    else if (name !== '' && name !== '.') depth++
    if (depth < 0) return false
  }
  return true
}
