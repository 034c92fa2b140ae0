import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CreateFeed, Extras, FeedOptions } from './feed.ts'
import { type Hypercore, wrapped } from './hypercore.ts'

/** One implementation in the comparison. `root` is always the folder of the project. */
export interface Subject {
  readonly name: string
  /**
   * For mixed pairs, which only take part in rows that replicate: the subject that writes, serves and uploads. The
   * subject itself is what downloads.
   */
  readonly source?: string
  /** Only measured when it is asked for by name. */
  readonly onRequest?: boolean
  /** Name of the subject that reads back what this one wrote; without it, `published`. */
  readonly checkedBy?: string
  /** Methods of a feed that the subject has not got. */
  readonly lacks?: readonly (keyof Extras)[]
  /** Version, or null if the subject is not installed (or not built). */
  version(root: string): string | null
  load(root: string): Promise<CreateFeed>
}

/** The subject that all ratios refer to. */
export const baseline = 'published'

/** The subject whose ratios to all others are reported. */
export const ours = 'ours'

/** A CommonJS package with the callback interface, installed in the project under `alias`. */
function installed(name: string, alias: string, more: Partial<Subject> = {}): Subject {
  return {
    name,
    version: (root) => versionOf(join(root, 'node_modules', alias, 'package.json')),
    load: async (root) => createRequire(join(root, 'package.json'))(alias) as CreateFeed,
    ...more
  }
}

/** Version in a package.json, null if there is none. */
function versionOf(file: string): string | null {
  if (!existsSync(file)) return null
  const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name: string; version: string }
  return `${name} ${version}`
}

const publishedPackage = installed(baseline, 'ddatabase-published')

const ourPackage: Subject = {
  name: ours,
  // The built package, as users get it.
  version: (root) => (existsSync(join(root, 'dist/index.js')) ? versionOf(join(root, 'package.json')) : null),
  load: async (root) => {
    const built = (await import(pathToFileURL(join(root, 'dist/index.js')).href)) as { default: CreateFeed }
    return built.default
  }
}

/** Our package with an option: what it costs. Only measured when it is asked for. */
function oursWith(name: string, option: FeedOptions): Subject {
  return {
    name: `${ours}-${name}`,
    onRequest: true,
    version: ourPackage.version,
    load: async (root) => {
      const create = await ourPackage.load(root)
      return (dir, key, options) => create(dir, key, { ...options, ...option })
    }
  }
}

/** A hypercore with promises, of the install of its own that bench/package.json is for. */
function relative(name: string): Subject {
  return {
    name,
    // Its files and its wire are its own.
    checkedBy: name,
    lacks: ['digest', 'proof', 'put', 'audit', 'signature', 'verify'],
    version: (root) => versionOf(join(root, 'bench/node_modules', name, 'package.json')),
    load: async (root) => wrapped(createRequire(join(root, 'bench/package.json'))(name) as Hypercore)
  }
}

/** Blocks go from `source` to `target`; there is such a pair only if both are installed. */
function pair(source: Subject, target: Subject): Subject {
  return {
    name: `${source.name}-to-${target.name}`,
    source: source.name,
    version: (root) => (source.version(root) === null ? null : target.version(root)),
    load: target.load
  }
}

/**
 * Loads the packages of mixed pairs, whichever the subject uses. For rows with both ends in one process: a mixed pair needs
 * both packages, so that without this its memory would be compared with that of a process that has loaded one of them.
 */
export async function loadBothEnds(root: string): Promise<void> {
  for (const subject of [publishedPackage, ourPackage])
    if (subject.version(root) !== null) await subject.load(root)
}

/** All subjects, in the order in which they are measured and reported. */
export const subjects: readonly Subject[] = [
  publishedPackage,
  ourPackage,
  pair(ourPackage, publishedPackage),
  pair(publishedPackage, ourPackage),
  installed('hypercore9', 'hypercore-published'),
  relative('hypercore10'),
  relative('hypercore11'),
  // The published package against itself: how far a ratio is off by noise alone.
  installed('published-again', 'ddatabase-published', { onRequest: true }),
  // What verifying at each use costs, and what it would cost to leave it; what an acknowledgement by the disk costs.
  oursWith('verify-off', { verify: 'off' }),
  oursWith('verify-always', { verify: 'always' }),
  oursWith('disk', { durability: 'disk' })
]

/** The subject called `name`. @throws {Error} if there is none. */
export function subjectNamed(name: string): Subject {
  const subject = subjects.find((candidate) => candidate.name === name)
  if (!subject) throw new Error(`No subject "${name}". There are: ${subjects.map((s) => s.name).join(', ')}`)
  return subject
}
