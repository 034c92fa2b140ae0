import { constants, type Stats } from 'node:fs'
import { access, lstat, readdir, readlink, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { Failure } from '../exit.ts'
import { explain } from '../explain.ts'
import { stopIfAsked } from '../interrupt.ts'
import { placeOf, refuseOwn } from '../own-folder.ts'
import { printable } from '../units.ts'
import { isInside, targetOf } from './paths.ts'

/** Something that is to be imported. */
export interface Found {
  /** Path on this machine. */
  source: string
  /** Path in the manifest. */
  path: string
  type: 'file' | 'directory' | 'symlink'
  mode: number
  mtime: number
  size: number
  target?: string
}

/** What is in the way of an import. */
export interface Obstacle {
  path: string
  /** Why it cannot be imported, to be read after "because". */
  reason: string
}

/** A file or a folder with everything below it. */
export interface Scanned {
  root: 'folder' | 'file'
  found: Found[]
  obstacles: Obstacle[]
  /** Symbolic links that lead out of the folder: they can be imported, but an export refuses them. */
  leaving: string[]
}

/**
 * Lists what is in a folder, in an order that is always the same, without reading any file. Fails with exit code 4 if
 * the source itself cannot be read, and with 2 if it is `except` or a file of the feed there; everything else that cannot be is among the obstacles.
 * @param except - folder that is left out: that of the feed, if it is below the source
 */
export async function scan(source: string, except: string, signal: AbortSignal): Promise<Scanned> {
  const scanned: Scanned = { root: 'folder', found: [], obstacles: [], leaving: [] }
  let stats: Stats
  let real: string
  try {
    // A link that is named itself means what it leads to.
    stats = await stat(source)
    if (stats.isFile()) await access(source, constants.R_OK)
    real = await realpath(source)
  } catch (error) {
    throw explain(error, source)
  }
  const own = await placeOf(except)
  refuseOwn(source, real, own, 'import')
  if (stats.isFile()) {
    scanned.root = 'file'
    scanned.found.push(describe(real, path.basename(path.resolve(source)), 'file', stats))
    return scanned
  }
  if (!stats.isDirectory()) {
    throw new Failure(
      'files',
      `${source} is neither a file nor a folder; \`ddatabase append --file -\` reads from a pipe.`
    )
  }
  const names = await readdir(real).catch((error: unknown) => {
    throw explain(error, source)
  })
  await scanNames(real, '', names, own, scanned, signal)
  return scanned
}

async function scanNames(
  folder: string,
  prefix: string,
  names: string[],
  except: string,
  scanned: Scanned,
  signal: AbortSignal
): Promise<void> {
  // By code units: the same on every machine, and so the same after an interruption.
  for (const name of names.sort((a, b) => (a < b ? -1 : 1))) {
    stopIfAsked(signal, 'nothing was imported yet')
    const source = path.join(folder, name)
    const shown = prefix === '' ? name : `${prefix}/${name}`
    if (source === except) continue
    try {
      await scanOne(source, shown, except, scanned, signal)
    } catch (error) {
      if (error instanceof Failure) throw error
      const { code, message } = error as NodeJS.ErrnoException
      const reason =
        code === 'EACCES' || code === 'EPERM'
          ? 'access is denied'
          : code === 'ENOENT'
            ? 'it vanished'
            : message
      scanned.obstacles.push({ path: shown, reason })
    }
  }
}

async function scanOne(
  source: string,
  shown: string,
  except: string,
  scanned: Scanned,
  signal: AbortSignal
): Promise<void> {
  if (shown.includes('\ufffd')) {
    scanned.obstacles.push({ path: shown, reason: 'its name is no UTF-8' })
    return
  }
  const stats = await lstat(source)
  if (stats.isSymbolicLink()) {
    const target = targetOf(await readlink(source))
    if (!isInside(shown, target)) scanned.leaving.push(shown)
    scanned.found.push({ ...describe(source, shown, 'symlink', stats), target })
  } else if (stats.isDirectory()) {
    const names = await readdir(source)
    scanned.found.push(describe(source, shown, 'directory', stats))
    await scanNames(source, shown, names, except, scanned, signal)
  } else if (stats.isFile()) {
    await access(source, constants.R_OK)
    scanned.found.push(describe(source, shown, 'file', stats))
  } else {
    scanned.obstacles.push({ path: shown, reason: 'it is a device, a pipe or a socket' })
  }
}

function describe(source: string, shown: string, type: Found['type'], stats: Stats): Found {
  const { mode, mtimeMs } = stats
  return {
    source,
    path: shown,
    type,
    mode: mode & 0o777,
    mtime: Math.round(mtimeMs),
    size: type === 'file' ? stats.size : 0
  }
}

/** The failure of an import because of obstacles. */
export function blocked(obstacles: readonly Obstacle[]): Failure {
  const [first] = obstacles
  const more = obstacles.length === 1 ? '' : ` and ${obstacles.length - 1} more,`
  return new Failure(
    'files',
    `${printable(first!.path)} cannot be imported because ${first!.reason},${more} so nothing was; --skip-unreadable leaves such things out.`
  )
}
