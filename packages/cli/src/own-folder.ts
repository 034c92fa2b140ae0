import { realpath } from 'node:fs/promises'
import path from 'node:path'
import { Failure } from './exit.ts'

/** What a feed, and an import that is going on, keep in the feed's folder. Whatever else is there is not theirs. */
const OWN: ReadonlySet<string> = new Set([
  'key',
  'secret_key',
  'signatures',
  'tree',
  'data',
  'bitfield',
  'checkpoint.0',
  'checkpoint.1',
  'forks',
  'unlinked',
  'import.json'
])

/** Where something really is: it may have several paths. What is not there yet is where its path says. */
export function placeOf(name: string): Promise<string> {
  return realpath(name).catch(() => path.resolve(name))
}

/** Like {@link placeOf}, but what is not there yet is below where its folder really is. */
export async function placeToBe(name: string): Promise<string> {
  const whole = path.resolve(name)
  const parent = path.dirname(whole)
  return realpath(whole).catch(async () =>
    parent === whole ? whole : path.join(await placeToBe(parent), path.basename(whole))
  )
}

/** Fails with exit code 2 for the folder of the feed and everything in it: both as {@link placeToBe} tells. */
export function refuseWithin(name: string, place: string, folder: string, todo: string): void {
  const way = path.relative(folder, place)
  if (way === '..' || way.startsWith(`..${path.sep}`) || path.isAbsolute(way)) return
  const what = way === '' ? 'the folder of the feed itself' : 'in the folder of the feed itself'
  throw new Failure('usage', `${name} is ${what}; name something else to ${todo}.`)
}

/**
 * Fails with exit code 2 for the folder of the feed, and for a file of the feed in it: both as {@link placeOf} tells, `name` as it was
 * given.
 */
export function refuseOwn(name: string, place: string, folder: string, todo: string): void {
  const way = path.relative(folder, place)
  if (way !== '' && !OWN.has(way)) return
  const what = way === '' ? 'the folder' : 'a file'
  throw new Failure('usage', `${name} is ${what} of the feed itself; name something else to ${todo}.`)
}
