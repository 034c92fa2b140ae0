import { realpath } from 'node:fs/promises'
import path from 'node:path'
import { Failure } from './exit.ts'

/** Where something really is: it may have several paths. What is not there yet is where its path says. */
export function placeOf(name: string): Promise<string> {
  return realpath(name).catch(() => path.resolve(name))
}

/** Fails with exit code 2 for what is in the folder of the feed: both as {@link placeOf} tells, `name` as it was given. */
export function refuseOwn(name: string, place: string, folder: string, todo: string): void {
  const way = path.relative(folder, place)
  if (path.isAbsolute(way) || way.split(path.sep)[0] === '..') return
  throw new Failure('usage', `${name} is in the folder of the feed itself; name something else to ${todo}.`)
}
