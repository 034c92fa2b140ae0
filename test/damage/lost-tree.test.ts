/** The tree of an author is lost from some node on: nothing is signed twice, and nothing that was on the disk is missed in silence. */
import test from 'tape'
import ddatabase, { DDatabaseError, type Feed, type FeedOptions, type Storage } from '../../src/index.ts'
import { CHECKPOINT_NAMES } from '../../src/storage/checkpoint-files.ts'
import { SimulatedDisk } from '../crash/disk.ts'
import type { MemoryFiles } from '../helpers/memory-files.ts'
import { within } from '../helpers/watchdog.ts'
import { slotOf } from './stored.ts'

const LENGTHS = [1, 5, 7, 8, 13]

/** A place with these files in it; opens the feed there, any number of times. */
type Place = (files: MemoryFiles) => (options?: FeedOptions) => Feed

/** `asPublished`: the bits count, as published packages write them, and one block may be unfinished (spec FORMAT §6 step 12). */
const PLACES: Record<string, { place: Place; checkpoints: boolean; asPublished: boolean }> = {
  'with checkpoints': { place: disk(true), checkpoints: true, asPublished: false },
  'with lost checkpoints': { place: disk(true), checkpoints: false, asPublished: true },
  'without checkpoints': { place: disk(false), checkpoints: false, asPublished: false },
  'that cannot be synchronised': { place: opener, checkpoints: false, asPublished: true }
}

function disk(extraFiles: boolean): Place {
  return (files) => opener(new SimulatedDisk({ extraFiles }, files))
}

function opener(storages: { factory(): unknown }): (options?: FeedOptions) => Feed {
  return (options) => ddatabase(storages.factory() as Storage, options)
}

function blockOf(index: number): string {
  return `block ${index}${'.'.repeat(index)}`
}

async function stored(length: number): Promise<MemoryFiles> {
  const on = new SimulatedDisk({ extraFiles: true })
  const author = opener(on)()
  for (let i = 0; i < length; i++) await author.append(blockOf(i))
  await author.close()
  return on.files
}

/** What is wrong with what becomes of it; `outcomes` counts how it went. */
async function lookAt(
  open: (options?: FeedOptions) => Feed,
  length: number,
  { checkpoints, asPublished }: { checkpoints: boolean; asPublished: boolean },
  repair: boolean,
  outcomes: Map<string, number>
): Promise<string[]> {
  const problems: string[] = []
  const count = (outcome: string): void => {
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const feed = open({ repair })
  const behind: number[] = []
  feed.on('behind', (seen) => behind.push(seen))
  try {
    await within(feed.ready(), 'ready')
  } catch (error) {
    if (!DDatabaseError.is(error)) return [String((error as Error).stack)]
    count(error.code)
    if (error.code !== 'ERR_FEED_DAMAGED' || (repair && checkpoints)) problems.push(error.code)
    if (error.damage?.[0]?.file !== 'tree') problems.push('no list')
    return problems
  }
  for (let block = 0; block < feed.length; block++) {
    const read = await within(feed.get(block, { wait: false }), 'get').catch((error) => {
      if (!DDatabaseError.is(error)) problems.push(String(error.stack))
      return null
    })
    if (read !== null && String(read) !== blockOf(block)) problems.push(`block ${block} is ${read}`)
  }
  const { length: left } = feed
  const seq = await feed.append('anew').catch((error) => error.code)
  if (asPublished && left === length - 1) {
    count('unfinished')
    if (seq !== left) problems.push(`appending: ${seq}`)
  } else if (left >= length) {
    count('whole')
    if (seq !== length) problems.push(`appending: ${seq}`)
  } else {
    count('shorter')
    if (seq !== 'ERR_BEHIND') problems.push(`appending at ${feed.length} of ${length}: ${seq}`)
    if (behind.join() !== String(length)) problems.push(`behind ${behind}`)
    if (checkpoints && !repair) problems.push('what was on the disk for certain is given up')
    if (checkpoints && feed.recovery?.damage[0]?.file !== 'tree') problems.push('it is not told')
    await feed.close()
    const again = open()
    const code = await again.append('anew').catch((error) => error.code)
    if (code !== 'ERR_BEHIND') problems.push(`when it is opened again: ${code}`)
    const { length: before } = again
    if ((await again.append('anew', { force: true })) !== before) problems.push('insisting')
    await again.close()
  }
  await feed.close()
  return problems
}

for (const [name, kind] of Object.entries(PLACES)) {
  const { place, checkpoints, asPublished } = kind
  test(`the end of the tree of an author is lost, in a place ${name}`, async (t) => {
    const outcomes = new Map<string, number>()
    for (const length of LENGTHS) {
      const base = await stored(length)
      const tree = base.read('tree')!
      for (let node = 0; node <= 2 * length - 2; node++) {
        for (const repair of [false, true]) {
          for (const zeros of [false, true]) {
            const files = base.clone()
            if (!checkpoints) for (const file of CHECKPOINT_NAMES) files.put(file, null)
            const left = tree.subarray(0, slotOf(node))
            files.put('tree', zeros ? Buffer.concat([left, Buffer.alloc(tree.length - left.length)]) : left)
            const problems = await lookAt(place(files), length, kind, repair, outcomes)
            const what = `${length} blocks, ${zeros ? 'zeros' : 'nothing'} from node ${node} on, repair: ${repair}`
            if (problems.length > 0) t.deepEqual(problems, [], what)
          }
        }
      }
    }
    t.ok((outcomes.get('whole') ?? 0) > 0, JSON.stringify([...outcomes]))
    t.ok((outcomes.get('shorter') ?? 0) > 0)
    t.equal((outcomes.get('unfinished') ?? 0) > 0, asPublished)
    if (checkpoints) t.ok((outcomes.get('ERR_FEED_DAMAGED') ?? 0) > 0)
  })
}

test('a last block whose node alone is lost comes back: by a checkpoint, or when repair is asked for', async (t) => {
  const { place } = PLACES['with checkpoints']!
  for (const checkpoints of [true, false]) {
    const base = await stored(5)
    base.put('tree', base.read('tree')!.subarray(0, slotOf(8)))
    if (!checkpoints) for (const file of CHECKPOINT_NAMES) base.put(file, null)
    const feed = place(base)({ repair: !checkpoints })
    await feed.ready()
    t.deepEqual([feed.length, feed.recovery?.healedNodes, feed.recovery?.lostBlocks], [5, 1, 0])
    t.equal(String(await feed.get(4)), blockOf(4))
    t.equal(await feed.append('next'), 5)
    await feed.close()
  }
})
