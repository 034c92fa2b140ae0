/**
 * What yargs does not do with the words of a command line: it drops a lone `-`, keeps what follows `--` away from the
 * arguments of a command, and makes an array of an option that is given twice.
 */
import { Failure } from './exit.ts'

// No word of a command line can have it: it ends them.
const MARK = '\0'

/** Words that yargs takes for plain ones wherever they are meant so. */
export function protect(words: readonly string[]): string[] {
  const end = words.indexOf('--')
  const before = end === -1 ? words : words.slice(0, end)
  const after = end === -1 ? [] : words.slice(end + 1)
  return [...before.map((word) => (word === '-' ? MARK + word : word)), ...after.map((word) => MARK + word)]
}

/** A text as it was before {@link protect}. */
export function restoreText(text: string): string {
  return text.replaceAll(MARK, '')
}

const LISTS: ReadonlySet<string> = new Set(['_', 'values', 'connect', 'bootstrap'])
const NAMES: ReadonlySet<string> = new Set(['dir', 'feed', 'source', 'target', 'file'])

/**
 * The arguments as they were before {@link protect}. Fails with exit code 2 if an option was given twice, or a path is
 * empty, which would mean the current folder.
 */
export function restore<A extends object>(args: A): A {
  const restored: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(args)) {
    if (Array.isArray(value) && !LISTS.has(name)) {
      throw new Failure('usage', `--${name} is given twice; decide for one.`)
    }
    if (value === '' && NAMES.has(name))
      throw new Failure('usage', `The argument "${name}" is empty; name a path.`)
    restored[name] = Array.isArray(value) ? value.map(restoreOne) : restoreOne(value)
  }
  return restored as A
}

function restoreOne(value: unknown): unknown {
  return typeof value === 'string' ? restoreText(value) : value
}
