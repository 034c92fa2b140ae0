/**
 * Older versions truncate to a length that was never signed. Until the author appends, nothing but the tree says what was there; what
 * is signed next must not be a damaged root.
 */
import test from 'tape'
import ddatabase, { type Storage } from '../../src/index.ts'
import { failure } from '../feed/feeds.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveVerify } from '../helpers/models.ts'
import { published } from '../helpers/published.ts'
import { flip, slotOf } from './stored.ts'

const BLOCKS = Array.from({ length: 13 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')

/** Blocks that were appended in two batches, the second of which was cut by a published package. */
async function truncated(first: number, length: number): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = published(files.factory())
  if (first > 0) await feed.append(BLOCKS.slice(0, first))
  await feed.append(BLOCKS.slice(first))
  await feed.call('truncate', length)
  await feed.close()
  return files
}

function on(files: MemoryFiles, options = {}) {
  return ddatabase(files.factory() as never as Storage, options)
}

test('an end that is not signed: every bit of every node that is signed next', async (t) => {
  for (const [first, length] of [
    [0, 3],
    [0, 12],
    [5, 11]
  ] as const) {
    const base = await truncated(first, length)
    const sound = on(base.clone())
    t.equal(await sound.append(NEXT), length, `${first}, ${length}: it opens, and goes on`)
    await sound.close()
    let refused = 0
    for (let node = 0; node <= 2 * length - 2; node++) {
      for (const at of [0, 31, 39]) {
        const files = base.clone()
        flip(files, 'tree', slotOf(node) + at)
        const feed = on(files)
        const code = await feed.ready().then(
          () => null,
          (error) => error.code
        )
        if (code !== null) {
          refused++
          if (code !== 'ERR_FEED_DAMAGED') t.fail(`node ${node}: ${code}`)
          continue
        }
        if ((await feed.append(NEXT)) !== length) t.fail(`node ${node}: not at the end`)
        const { signature } = await feed.signature(length)
        const history = [...BLOCKS.slice(0, length), NEXT]
        if (!naiveVerify(history, length + 1, signature, feed.key!)) t.fail(`node ${node}: a false history`)
        await feed.close()
      }
    }
    t.ok(refused > 0, `${refused} refused`)
  }
})

test('an end that is not signed, and damaged: it is given up when repair is asked for', async (t) => {
  const files = await truncated(5, 11)
  flip(files, 'tree', slotOf(7))
  const { code, damage } = await failure(on(files).ready())
  t.deepEqual([code, damage?.[0]?.file], ['ERR_FEED_DAMAGED', 'tree'])
  const feed = on(files, { repair: true })
  await feed.ready()
  const { length } = feed
  t.equal(length, 5, 'what was signed last')
  t.equal(await feed.append(NEXT), 5)
  const { signature } = await feed.signature(5)
  t.equal(naiveVerify([...BLOCKS.slice(0, 5), NEXT], 6, signature, feed.key!), true)
  await feed.close()
})

test('an end that is not signed, of the nodes of another feed', async (t) => {
  const write = async (blocks: readonly Uint8Array[]): Promise<MemoryFiles> => {
    const files = new MemoryFiles()
    const feed = published(files.factory())
    await feed.append(blocks)
    await feed.call('close')
    return files
  }
  // Of eight blocks there is one root.
  for (const count of [BLOCKS.length - 1, 8]) {
    const files = await write(BLOCKS.slice(1, 1 + count))
    files.put('signatures', null)
    const others = Array.from({ length: count }, (_, i) => Buffer.from(`other ${i}`))
    for (const first of [others[0]!, Buffer.alloc(0)]) {
      files.put('tree', (await write([first, ...others.slice(1)])).read('tree'))
      const { code, damage } = await failure(on(files.clone()).ready())
      t.deepEqual([code, damage?.[0]?.file], ['ERR_FEED_DAMAGED', 'tree'], `${count} blocks`)
    }
  }
  const files = await write(BLOCKS.slice(1))
  files.put('signatures', null)
  // A few blocks that are damaged are no other feed.
  for (let i = 0; i < 3; i++) flip(files, 'data', 1 + 7 * i)
  const feed = on(files)
  t.equal(await feed.append(NEXT), 12)
  await feed.close()
})

test('an end that is not signed, above nodes that are not here: it is not believed', async (t) => {
  const files = new MemoryFiles()
  const author = published(files.factory())
  for (const block of BLOCKS.slice(0, 5)) await author.append(block)
  await author.close()
  // Bits that tell a length of 8, and something in the place of its root.
  const bits = Buffer.from(files.read('bitfield')!)
  for (const node of [7, 9]) bits[32 + 1024 + (node >> 3)]! |= 128 >> (node & 7)
  files.put('bitfield', bits)
  const tree = Buffer.from(files.read('tree')!)
  tree.copyWithin(slotOf(7), slotOf(6), slotOf(7))
  files.put('tree', tree)
  const { code, damage } = await failure(on(files).ready())
  t.deepEqual(
    [code, damage],
    ['ERR_FEED_DAMAGED', [{ file: 'tree', problem: 'roots are missing or do not hold', start: 0, end: 8 }]]
  )
  const feed = on(files, { repair: true })
  t.equal(await feed.append(NEXT), 5, 'what was signed last')
  const { signature } = await feed.signature(5)
  t.equal(naiveVerify([...BLOCKS.slice(0, 5), NEXT], 6, signature, feed.key!), true)
  await feed.close()
})

test('an end that is not signed, on a medium that takes nothing: the first append fails, and nothing else does', async (t) => {
  const files = await truncated(5, 11)
  const plan = new FaultPlan()
  const feed = ddatabase(files.factory(plan) as never as Storage)
  await feed.ready()
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  plan.arm('dead', 1)
  const { code } = await failure(feed.append(NEXT))
  t.equal(code, 'ERR_STORAGE')
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  t.deepEqual(unhandled, [])
  plan.arm('before', Number.POSITIVE_INFINITY)
  t.equal(await feed.append(NEXT), 11, 'and the next one tries again')
  await feed.close()
})
