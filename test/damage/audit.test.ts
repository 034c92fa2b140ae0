/** `audit` with options: every fault with its place, mending, progress, abort. */
import test from 'tape'
import ddatabase, { type Damage } from '../../src/index.ts'
import { copyBlocks, failure, memory } from '../feed/feeds.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { HeldStorage } from '../helpers/held-storage.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import {
  answers,
  BLOCKS,
  expected,
  flip,
  offsetOf,
  opened,
  slotOf,
  storedAuthor,
  storedCopy
} from './stored.ts'

test('audit: nothing is wrong', async (t) => {
  for (const files of [await storedAuthor(), await storedCopy(await storedAuthor(), [1, 5, 36])]) {
    const before = files.toHex()
    const feed = await opened(files)
    const valid = feed.downloaded()
    t.deepEqual(await feed.audit(), { valid, invalid: 0 }, 'without options')
    const none = { damage: [], repaired: [], forks: [] }
    t.deepEqual(await feed.audit({}), { valid, invalid: 0, ...none }, 'with options')
    t.deepEqual(await feed.audit({ repair: true }), { valid, invalid: 0, ...none }, 'with repair')
    await feed.close()
    t.deepEqual(files.toHex(), before, 'nothing was written')
  }
})

test('audit: each fault with its place', async (t) => {
  const base = await storedAuthor()
  const feed = await opened(base)
  flip(base, 'data', offsetOf(12))
  flip(base, 'tree', slotOf(6))
  flip(base, 'signatures', 32 + 64 * 11 + 5)
  flip(base, 'signatures', 32 + 64 * 36 + 5)
  flip(base, 'bitfield', 32 + 1024)
  flip(base, 'tree', 3)
  flip(base, 'key', 0)
  const { valid, invalid, damage, repaired } = await feed.audit({})
  t.deepEqual([valid, invalid, repaired], [BLOCKS.length - 1, 1, []])
  const places = damage.map(({ file, start, end }) => `${file} ${start} ${end}`).sort()
  t.deepEqual(places, [
    'bitfield 0 8192',
    'data 12 13',
    'key 0 37',
    'signatures 11 12',
    'signatures 36 37',
    'tree 0 37',
    'tree 3 4'
  ])
  t.equal(feed.has(12), false, 'the block is not here any more')
  const mended = await feed.audit({ repair: true })
  t.deepEqual([mended.valid, mended.invalid], [BLOCKS.length - 1, 0])
  t.deepEqual(
    mended.repaired.map(({ file, start, end }) => `${file} ${start} ${end}`).sort(),
    places.filter((place) => !/key|data|bitfield/.test(place)),
    'all but the key; the bits were written with that of the block'
  )
  const after = await feed.audit({})
  t.deepEqual(
    after.damage.map(({ file }) => file),
    ['key'],
    'and then they hold'
  )
  await feed.close()
  base.put('key', feed.key)
  const again = await opened(base)
  t.deepEqual((await again.audit({})).damage, [])
  t.deepEqual(await answers(again, { wait: false }), expected({ 12: 'ERR_BLOCK_NOT_DOWNLOADED' }))
  await again.close()
})

test('audit: what cannot be written is not repaired', async (t) => {
  const files = await storedAuthor()
  const plan = new FaultPlan()
  const feed = ddatabase(files.factory(plan) as never, { verify: 'off' })
  await feed.ready()
  flip(files, 'tree', slotOf(6))
  plan.arm('before', 1, (file, operation) => file === 'tree' && operation === 'write')
  const places = (list: Damage[]) => list.map(({ file, start, end }) => `${file} ${start} ${end}`)
  const failing = await feed.audit({ repair: true })
  t.ok(plan.injected, 'nothing can be written')
  t.deepEqual([places(failing.damage), places(failing.repaired)], [['tree 3 4'], []])
  plan.disarm()
  const well = await feed.audit({ repair: true })
  t.deepEqual([places(well.damage), places(well.repaired)], [['tree 3 4'], ['tree 3 4']])
  t.deepEqual((await feed.audit({})).damage, [])
  await feed.close()
})

test('audit: a copy without its last signature cannot sign', async (t) => {
  const files = await storedCopy(await storedAuthor())
  const feed = await opened(files)
  files.put('signatures', files.read('signatures')!.subarray(0, 32))
  const { damage, repaired } = await feed.audit({ repair: true })
  t.deepEqual(damage, [
    { file: 'signatures', problem: 'the signature of the end is missing', start: 36, end: 37 }
  ])
  t.deepEqual(repaired, [])
  await feed.close()
})

test('audit: signatures that are cut within a slot are mended at once', async (t) => {
  const whole = await storedAuthor()
  const files = whole.clone()
  const feed = await opened(files)
  files.put('signatures', files.read('signatures')!.subarray(0, 32 + 64 * 12 + 20))
  const { repaired } = await feed.audit({ repair: true })
  t.deepEqual(
    repaired.map(({ start }) => start),
    [36, 12]
  )
  const { damage } = await feed.audit({ repair: true })
  t.deepEqual(damage, [], 'nothing is left to be mended')
  const slot = (from: MemoryFiles) => from.read('signatures')!.subarray(32 + 64 * 12, 32 + 64 * 13)
  t.deepEqual(slot(files), slot(whole), 'the author has made it again')
  await feed.close()
})

test('audit: progress', async (t) => {
  const feed = await opened(await storedAuthor())
  const seen: number[] = []
  let last = null as { blocks: number; totalBlocks: number; bytes: number; totalBytes: number | null } | null
  await feed.audit({
    onprogress: (progress) => {
      seen.push(progress.blocks)
      last = progress
    }
  })
  t.ok(seen.length > 0 && seen.every((blocks, i) => i === 0 || blocks > seen[i - 1]!), 'it only grows')
  t.equal(last?.blocks, BLOCKS.length)
  t.deepEqual([last?.totalBlocks, last?.bytes, last?.totalBytes], [37, feed.byteLength, feed.byteLength])
  t.equal((await failure(feed.audit({ onprogress: 1 as never }))).code, 'ERR_INVALID_ARG_TYPE')
  await feed.close()
})

test('audit: aborted', async (t) => {
  const feed = await opened(await storedAuthor())
  const controller = new AbortController()
  const audit = failure(
    feed.audit({ signal: controller.signal, repair: true, onprogress: () => controller.abort() })
  )
  t.equal((await audit).code, 'ERR_REQUEST_CANCELLED')
  await feed.close()
})

test('audit: of a feed that is being closed, and of one that is appended to', async (t) => {
  const feed = await opened(await storedAuthor())
  const [report] = await Promise.all([feed.audit({}), feed.append(['a', 'b', 'c']), feed.clear(3)])
  t.deepEqual([report.invalid, report.damage], [0, []])
  const audit = failure(feed.audit({}))
  await feed.close()
  t.equal((await audit).code, 'ERR_FEED_CLOSED')
})

test('audit: beside an append, while the application sets bits', async (t) => {
  const storage = new HeldStorage()
  const feed = ddatabase<unknown>(storage.create)
  const values = Array.from({ length: 20_000 }, (_, i) => `${i}`)
  await feed.append(values)
  let append: Promise<number> | null = null
  let waits = false
  let pieces = 0
  const report = await feed.audit({
    onprogress: () => {
      if (append === null) {
        void storage
          .hold((file, operation) => file === 'bitfield' && operation === 'write')
          .then(() => {
            waits = true
          })
        append = feed.append('new')
      } else if (waits && ++pieces === 2) {
        // A piece was begun, and looked at, since the append has staged its bits.
        feed.bitfield!.set(22_000, true)
        storage.release()
      }
    }
  })
  t.ok(pieces >= 2, `${pieces} pieces were looked at while the append was written`)
  t.equal(await append, values.length, 'it is appended')
  t.deepEqual([report.invalid, report.damage], [0, []])
  t.deepEqual([feed.length, feed.has(20_000), feed.bitfield!.get(22_000)], [20_001, true, true])
  await feed.close()
})

test('audit: the tree is spoilt over many blocks', async (t) => {
  const files = new MemoryFiles()
  const author = ddatabase(memory(files))
  await author.append(Array.from({ length: 8200 }, (_, i) => `${i}`))
  await author.close()
  const tree = Buffer.from(files.read('tree')!)
  // Hashes and sizes of half of the nodes of a subtree.
  tree.fill(255, slotOf(8800), slotOf(12_000))
  files.put('tree', tree)
  const feed = await opened(files)
  const { cpuUsage } = process
  const before = cpuUsage()
  const { valid, invalid, damage } = await feed.audit({})
  const { user, system } = cpuUsage(before)
  t.deepEqual([valid, invalid], [4104, 4096])
  t.deepEqual(damage, [{ file: 'tree', problem: 'nodes do not hold', start: 4096, end: 8192 }])
  t.ok(user + system < 3e6, `in ${user + system} µs, and not as often as there are blocks`)
  await feed.close()
})

test('audit: a tree that somebody has cut since it was opened is damaged like one that was emptied there', async (t) => {
  const reports = []
  for (const cut of [false, true]) {
    const files = await storedAuthor()
    const feed = await opened(files)
    const tree = Buffer.from(files.read('tree')!)
    files.put('tree', cut ? tree.subarray(0, slotOf(66)) : tree.fill(0, slotOf(66)))
    const report = await feed.audit({ repair: true })
    reports.push(report)
    t.ok(
      report.damage.some(({ file }) => file === 'tree'),
      'told'
    )
    const none = { damage: [], repaired: [], forks: [] }
    t.deepEqual(await feed.audit({}), { valid: report.valid, invalid: 0, ...none }, 'mended')
    await feed.close()
  }
  t.deepEqual(reports[1], reports[0])
})

/** The files of a copy that has 7 blocks of when the feed had no more, and the last one of now. What lies between is not known. */
async function grownCopy(): Promise<MemoryFiles> {
  const author = ddatabase(memory(new MemoryFiles()))
  await author.append(BLOCKS.slice(0, 7))
  const files = new MemoryFiles()
  const copy = ddatabase(memory(files), author.key, { sparse: true })
  await copy.ready()
  await copyBlocks(author, copy, 0, 1, 2, 3, 4, 5, 6)
  await author.append(BLOCKS.slice(7))
  await copyBlocks(author, copy, 36)
  await Promise.all([author.close(), copy.close()])
  return files
}

test('audit: a bit of a node that was never here does not cost the blocks beside it', async (t) => {
  const files = await grownCopy()
  // Node 13: the parent of block 6 and one that is not here.
  flip(files, 'bitfield', 32 + 1024 + 1, 2)
  for (const name of ['checkpoint.0', 'checkpoint.1']) files.put(name, null)
  const feed = await opened(files, { sparse: true })
  const found = { file: 'tree', problem: 'nodes are missing or do not hold', start: 6, end: 8 }
  const first = await feed.audit({ repair: true })
  t.deepEqual([first.valid, first.invalid, first.damage], [8, 0, [found]])
  const second = await feed.audit({ repair: true })
  t.deepEqual([second.valid, second.invalid, second.damage], [8, 0, []])
  await feed.close()
})

test('audit: of signatures that are cut meanwhile it is told as of those that were cut before', async (t) => {
  const files = await grownCopy()
  const feed = await opened(files, { sparse: true })
  files.put('signatures', files.read('signatures')!.subarray(0, 32 + 64))
  const { valid, invalid, damage } = await feed.audit({ repair: true })
  t.deepEqual([valid, invalid], [1, 7])
  t.deepEqual(
    damage.map(({ file, start, end }) => `${file} ${start} ${end}`),
    ['tree 0 7', 'signatures 36 37'],
    'the blocks can be read; nothing speaks for them'
  )
  const second = await feed.audit({ repair: true })
  t.deepEqual([second.valid, second.invalid, second.damage.length], [1, 0, 1])
  await feed.close()
})
