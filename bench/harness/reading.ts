import { shuffle } from './blocks.ts'
import { call, type Feed, type FeedOptions } from './feed.ts'
import type { Context, Work } from './row.ts'

/** Reads units (blocks, ranges) of a feed; returns how many operations that were. */
export type Read = (feed: Feed, units: readonly number[]) => Promise<number>

/** How a feed is read: how many units it has, and how many of them one step reads. */
export interface Reading {
  readonly units: number
  readonly perStep: number
  readonly read: Read
  /** How the feed is opened. */
  readonly options?: FeedOptions
}

function everyUnit(units: number): number[] {
  return Array.from({ length: units }, (_, unit) => unit)
}

/** Reads units at random that were all read before, in the same opening: caches are warm. */
export async function readAgain(context: Context, { units, perStep, read, options }: Reading): Promise<Work> {
  const feed = await context.open(context.fixtureDir, null, options)
  await read(feed, everyUnit(units))
  let drawn: readonly number[] = []
  return {
    prepare() {
      drawn = Array.from({ length: perStep }, () => Math.floor(context.random() * units))
    },
    step: () => read(feed, drawn)
  }
}

/**
 * Reads units in random order, each once per opening: work that a feed does at the first read only, such as
 * verifying, is not measured away by reading again. When what is left is shorter than a step, the feed is opened
 * afresh; the first twentieth of its units, at least one, is then read untimed.
 */
export async function readFirst(context: Context, { units, perStep, read, options }: Reading): Promise<Work> {
  const warm = Math.ceil(units / 20)
  if (warm + perStep > units) throw new RangeError('The feed is too short for one step')
  const order = everyUnit(units)
  let feed = await context.open(context.fixtureDir, null, options)
  let next = units
  return {
    async prepare() {
      if (next + perStep <= units) return
      await call((callback) => feed.close(callback))
      feed = await context.open(context.fixtureDir, null, options)
      shuffle(order, context.random)
      await read(feed, order.slice(0, warm))
      next = warm
    },
    step() {
      const start = next
      next += perStep
      return read(feed, order.slice(start, next))
    }
  }
}
