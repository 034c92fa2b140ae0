import { pump } from '../harness/pump.ts'
import { type Reading, readAgain, readFirst } from '../harness/reading.ts'
import type { Context, Fixture, Row } from '../harness/row.ts'
import { largeBlocks, mediumBlocks, smallBlocks, someSmallBlocks } from './fixtures.ts'

/*
 * Each kind of read has two rows, since a feed may do more at the first read of a block than at later ones
 * (load tree nodes, verify). "random": of blocks that were read before. "first": each block once per opening.
 */

const inFlight = 16
const batchLength = 128

/** Single blocks. */
function blocks(context: Context): Reading {
  return {
    units: context.fixtureBlocks,
    perStep: context.size(2_000, 200),
    read: (feed, indexes) =>
      pump(indexes.length, inFlight, (position, callback) => feed.get(indexes[position]!, {}, callback))
  }
}

/** Ranges of 128 blocks, one after the other. */
function batches(context: Context): Reading {
  const units = Math.floor(context.fixtureBlocks / batchLength)
  return {
    units,
    perStep: units - 1,
    async read(feed, numbers) {
      await pump(numbers.length, 1, (position, callback) => {
        const start = numbers[position]! * batchLength
        feed.getBatch(start, start + batchLength, {}, callback)
      })
      return numbers.length * batchLength
    }
  }
}

function again(name: string, size: string, fixture: Fixture): Row {
  return {
    name: `get-random-${name}`,
    title: `get at random, ${size}, ${inFlight} in flight`,
    operation: 'get',
    fixture,
    start: (context) => readAgain(context, blocks(context))
  }
}

function first(name: string, size: string, fixture: Fixture): Row {
  return {
    name: `get-first-${name}`,
    title: `get at random, each block once, ${size}, ${inFlight} in flight`,
    operation: 'get',
    fixture,
    start: (context) => readFirst(context, blocks(context))
  }
}

const unverified = { verify: 'off' }

const batch = { operation: 'block', bytes: largeBlocks.blockSize, fixture: largeBlocks } as const

export const getRows: readonly Row[] = [
  again('16k', '16 KB', mediumBlocks),
  first('16k', '16 KB', mediumBlocks),
  again('512', '512 B', someSmallBlocks),
  first('512', '512 B', smallBlocks),
  {
    ...batch,
    name: 'get-batch-64k',
    title: `getBatch ${batchLength} × 64 KB`,
    start: (context) => readAgain(context, batches(context))
  },
  {
    ...batch,
    name: 'get-batch-first-64k',
    title: `getBatch ${batchLength} × 64 KB, each block once`,
    start: (context) => readFirst(context, batches(context))
  },
  {
    // What the row above would be without looking at what is read, as the relatives do it.
    ...batch,
    name: 'get-batch-first-64k-off',
    title: `getBatch ${batchLength} × 64 KB, each block once, verify: 'off'`,
    start: (context) => readFirst(context, { ...batches(context), options: unverified })
  }
]
