/** Every storage folder of the vectors: read, and rebuilt byte for byte where it was written by appends or puts. */
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import { CHECKPOINT_NAMES } from '../../src/storage/checkpoint-files.ts'
import type { FeedFace, OpenFeed } from '../helpers/feed-face.ts'
import { copyStorageVector, describeFile, sixFiles, temporaryFolder, vector } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveTreeHash } from '../helpers/models.ts'
import { ours, oursHypercore } from '../helpers/ours.ts'
import type { VectorEntry, VectorState } from '../helpers/vectors.ts'

/** An entry of which the state is known: all but the torn one, whose state is `afterOpening`. */
type Entry = VectorEntry & VectorState

interface Index {
  secretKeys: { seed: string; publicKey: string }[]
  entries: Entry[]
}

const { entries, secretKeys } = vector<Index>('storage/index.json')
const hypercore = vector<Index>('storage/index-hypercore.json')

/** The secret key that belongs to a public key in hexadecimal. */
function secretKeyOf(key: string): Buffer | null {
  const pair = secretKeys.find(({ publicKey }) => publicKey === key)
  return pair === undefined ? null : Buffer.from(pair.seed + pair.publicKey, 'hex')
}

/** Block `i` of an entry. */
function blockOf(entry: Entry, i: number): Buffer {
  const blocks = entry.name === 'hypercore-five' ? ['a', 'b', 'c', 'd', 'e'] : entry.blocks
  if (blocks !== undefined) return Buffer.from(blocks[i]!)
  if (entry.batches !== undefined) return Buffer.from(`${JSON.stringify(entry.batches.flat()[i])}\n`)
  if (entry.blockRule === '"block " + index') return Buffer.from(`block ${i}`)
  if (entry.blockRule?.startsWith('one byte, index & 255')) return Buffer.from([i & 255])
  throw new Error(`no rule for the blocks of ${entry.name}`)
}

const blocksOf = (entry: Entry, start: number, end: number) =>
  Array.from({ length: end - start }, (_, i) => blockOf(entry, start + i))

// Only the bitfield and the keys of these are stored: they are checked when they are rebuilt below.
const isWhole = (entry: Entry) => entry.storedFiles === undefined

for (const [open, list] of [
  [ours(), entries],
  [oursHypercore(), hypercore.entries]
] as const) {
  for (const entry of list.filter(isWhole)) {
    test(`storage vector ${entry.name}: ${entry.about}`, async (t) => {
      const folder = await temporaryFolder(t)
      await copyStorageVector(entry.name, folder)
      const before = await sixFiles(folder)
      for (const [file, expected] of Object.entries(entry.files)) {
        t.deepEqual(
          describeFile(before[file] ?? null),
          expected,
          `the copy of ${file} is what the index says`
        )
      }
      const options = entry.valueEncoding === undefined ? {} : { valueEncoding: entry.valueEncoding }
      const feed = open(folder, null, options)
      await feed.ready()
      await checkState(t, feed, entry.afterOpening ?? entry)
      await checkContent(t, feed, entry)
      await feed.close()
      const after = await sixFiles(folder)
      for (const file of Object.keys(before)) {
        // Recovery, and what `truncate` left behind, may be put right on disk; everything else stays as it is.
        const mayChange =
          file === 'bitfield' && (entry.afterOpening !== undefined || entry.bitsLeftBehind !== undefined)
        if (!mayChange)
          t.deepEqual(describeFile(after[file]!), describeFile(before[file]!), `${file} is as before`)
      }
    })
  }
}

async function checkState(t: Test, feed: FeedFace, state: VectorState): Promise<void> {
  t.equal(feed.key.toString('hex'), state.key, 'key')
  t.equal(feed.length, state.length, 'length')
  t.equal(feed.byteLength, state.byteLength, 'byteLength')
  t.equal(feed.feed.live, state.live, 'live')
  t.deepEqual(rangesOf(feed, state.length), state.haveRanges, 'blocks that are here')
  const tree = feed.feed.tree as { get(index: number): boolean }
  const known = Array.from({ length: state.treeIndexesKnownBelow }, (_, i) => i).filter((i) => tree.get(i))
  t.deepEqual(known, state.treeIndexesKnown, 'nodes that are known')
  if (state.length === 0) return
  const roots = await feed.rootHashes(state.length - 1)
  const plain = roots.map(({ index, size, hash }) => ({
    index,
    size,
    hash: Buffer.from(hash).toString('hex')
  }))
  t.deepEqual(plain, state.roots, 'roots')
  t.equal(naiveTreeHash(roots).toString('hex'), state.treeHash, 'tree hash')
  if (state.signatureAtEnd === null) return
  if ('error' in state.signatureAtEnd) {
    const [answer] = await Promise.allSettled([feed.signature(state.length - 1)])
    t.equal(answer.status, 'rejected', 'no signature')
    return
  }
  const { index, signature } = await feed.signature(state.length - 1)
  t.deepEqual(
    { index, signature: Buffer.from(signature).toString('hex') },
    state.signatureAtEnd,
    'last signature'
  )
  t.equal(await feed.verify(index, signature), true, 'it verifies')
}

function rangesOf(feed: FeedFace, length: number): [number, number][] {
  const ranges: [number, number][] = []
  for (let i = 0; i < length; i++) {
    const last = ranges.at(-1)
    if (!feed.has(i)) continue
    if (last?.[1] === i) last[1]++
    else ranges.push([i, i + 1])
  }
  return ranges
}

async function checkContent(t: Test, feed: FeedFace, entry: Entry): Promise<void> {
  const state = entry.afterOpening ?? entry
  const withoutData = entry.files.data === null && state.byteLength > 0
  let good = 0
  for (const [start, end] of state.haveRanges) {
    for (let i = start; i < end && !withoutData; i++) {
      const block = Buffer.from((await feed.get(i, { wait: false, valueEncoding: 'binary' })) as Uint8Array)
      if (block.equals(blockOf(entry, i))) good++
      else t.fail(`block ${i} is ${block.toString('hex')}`)
    }
  }
  const held = state.haveRanges.reduce((sum, [start, end]) => sum + end - start, 0)
  t.equal(good, withoutData ? 0 : held, `${good} blocks`)
  if (entry.batches !== undefined) {
    t.deepEqual(await feed.getBatch(0, state.length), entry.batches.flat(), 'values through the codec')
  }
  for (const bit of entry.bitsLeftBehind ?? []) {
    t.equal(feed.has(bit.index), false, `block ${bit.index}, which was truncated, does not count (quirk 5)`)
  }
  if (entry.verifyAnswers === true) {
    for (let i = 0; i < entry.length; i++) {
      const { index, signature } = await feed.signature(i)
      t.equal(
        await feed.verify(index, signature),
        true,
        `the signature of length ${index + 1}, by the old rule`
      )
    }
  }
  if (!withoutData) t.deepEqual({ ...(await feed.audit()) }, { valid: held, invalid: 0 }, 'audit')
}

/** How each folder was made. Folders that were damaged by hand are not in the list. */
const RECIPES: Record<string, (entry: Entry, folder: string, open: OpenFeed) => Promise<void>> = {
  empty: (entry, folder, open) => appended(entry, folder, open, []),
  one: (entry, folder, open) => appended(entry, folder, open, [1]),
  five: (entry, folder, open) => appended(entry, folder, open, [5]),
  'hypercore-five': (entry, folder, open) => appended(entry, folder, open, [5]),
  'five-single': (entry, folder, open) => appended(entry, folder, open, [1, 1, 1, 1, 1]),
  async 'batches-reopened'(entry, folder, open) {
    for (const batch of entry.batches!) {
      const feed = writer(entry, folder, open, { valueEncoding: 'json' })
      await feed.append(batch)
      await feed.close()
    }
  },
  thousand: (entry, folder, open) => appended(entry, folder, open, [...Array<number>(10).fill(100), 25]),
  'multi-page': (entry, folder, open) => appended(entry, folder, open, Array<number>(10).fill(2000)),
  async 'sparse-replica'(entry, folder, open) {
    const source = await sourceOf(entry, [entry.sourceLength!])
    const feed = open(folder, source.key, { sparse: true })
    for (const i of [3, 4, 50, 99]) await feed.put(i, blockOf(entry, i), await source.proof(i))
    await feed.put(20, null, await source.proof(20, { hash: true }))
    await feed.close()
  },
  async 'sparse-grown'(entry, folder, open) {
    const source = await sourceOf(entry, [])
    const feed = open(folder, source.key, { sparse: true })
    for (const [length, i] of [
      [3, 1],
      [7, 4],
      [12, 11]
    ] as const) {
      await source.append(blocksOf(entry, source.length, length))
      await feed.put(i, blockOf(entry, i), await source.proof(i))
    }
    await feed.close()
  },
  async 'cleared-middle'(entry, folder, open) {
    const feed = writer(entry, folder, open)
    await feed.append(blocksOf(entry, 0, 20))
    await feed.clear(5, 10, { delete: false })
    await feed.close()
  },
  async 'cleared-tail'(entry, folder, open) {
    const feed = writer(entry, folder, open)
    await feed.append(blocksOf(entry, 0, 20))
    await feed.clear(15, 20)
    await feed.close()
  },
  async static(entry, folder, open) {
    const feed = open(folder, null, { live: false })
    await feed.append(blocksOf(entry, 0, 3))
    await feed.finalize()
    await feed.close()
  },
  'no-secret-stored': (entry, folder, open) => appended(entry, folder, open, [2], { storeSecretKey: false }),
  indexing: (entry, folder, open) => appended(entry, folder, open, [2], { indexing: true }),
  async 'legacy-page-size'(entry, folder, open) {
    await mkdir(folder, { recursive: true })
    const header = Buffer.alloc(32)
    header.set([5, 2, 87, 0, 0, 3328 >> 8, 3328 & 255])
    await writeFile(path.join(folder, 'bitfield'), header)
    await appended(entry, folder, open, Array<number>(5).fill(2000))
  },
  async 'mixed-ops-bitfield'(entry, folder, open) {
    const source = await sourceOf(entry, Array<number>(15).fill(2000))
    const feed = open(folder, source.key, { sparse: true })
    for (const [operation, ...numbers] of entry.operations as unknown as [string, ...number[]][]) {
      const [start, end] = numbers as [number, number]
      if (operation === 'put') {
        const proof = await source.proof(start, { digest: feed.feed.opened ? feed.digest(start) : 0 })
        await feed.put(start, blockOf(entry, start), proof)
      } else if (operation === 'clear') await feed.clear(start, end, { delete: false })
      else throw new Error(`unknown operation ${operation}`)
    }
    await feed.close()
    await source.close()
  }
}

// Not made by appends and puts alone: cut, overwritten or truncated (where the bits differ on purpose).
const NOT_REBUILT = ['truncated', 'legacy-signatures', 'recover-tree-short']

function writer(entry: Entry, folder: string, open: OpenFeed, options: object = {}): FeedFace {
  return open(folder, Buffer.from(entry.key, 'hex'), { secretKey: secretKeyOf(entry.key), ...options })
}

/** Batches of these sizes, one after the other. A batch of one is appended as a value. */
async function appended(
  entry: Entry,
  folder: string,
  open: OpenFeed,
  sizes: number[],
  options: object = {}
): Promise<void> {
  const feed = writer(entry, folder, open, options)
  await feed.ready()
  for (const size of sizes) {
    const batch = blocksOf(entry, feed.length, feed.length + size)
    await feed.append(size === 1 ? batch[0] : batch)
  }
  await feed.close()
}

/** The feed a replica was made from, in memory. */
async function sourceOf(entry: Entry, sizes: number[]): Promise<FeedFace> {
  const source = ours()(new MemoryFiles().factory(), Buffer.from(entry.key, 'hex'), {
    secretKey: secretKeyOf(entry.key)
  })
  for (const size of sizes) await source.append(blocksOf(entry, source.length, source.length + size))
  return source
}

for (const [open, list] of [
  [ours(), entries],
  [oursHypercore(), hypercore.entries]
] as const) {
  for (const entry of list.filter(({ name }) => !NOT_REBUILT.includes(name))) {
    test(`storage vector ${entry.name} rebuilt byte for byte`, async (t) => {
      const recipe = RECIPES[entry.name]
      if (recipe === undefined) {
        t.fail('nobody knows how it was made')
        return
      }
      const folder = path.join(await temporaryFolder(t), 'feed')
      await recipe(entry, folder, open)
      const files = await sixFiles(folder)
      for (const [file, expected] of Object.entries(entry.files)) {
        t.deepEqual(describeFile(files[file] ?? null), expected, file)
      }
      if (isWhole(entry)) return
      // What could not be checked from the stored folder alone.
      const feed = open(folder)
      await feed.ready()
      await checkState(t, feed, entry)
      await checkContent(t, feed, { ...entry, files: { ...entry.files } })
      await feed.close()
      await checkStoredBitfield(t, entry, files)
    })
  }
}

async function checkStoredBitfield(
  t: Test,
  entry: Entry,
  files: Record<string, Buffer | null>
): Promise<void> {
  const folder = await temporaryFolder(t)
  await copyStorageVector(entry.name, folder)
  const stored = await readFile(path.join(folder, 'bitfield'))
  const at = stored.findIndex((byte, i) => byte !== files.bitfield![i])
  t.equal(at, -1, 'the stored bitfield, byte for byte, index bytes included')
}

test('storage vector cleared-middle: clearing with deletion leaves the same bits', async (t) => {
  const entry = entries.find(({ name }) => name === 'cleared-middle')!
  const folder = path.join(await temporaryFolder(t), 'feed')
  const feed = writer(entry, folder, ours())
  await feed.append(blocksOf(entry, 0, 20))
  await feed.clear(5, 10)
  await feed.close()
  const files = await sixFiles(folder)
  for (const file of ['key', 'secret_key', 'signatures', 'tree', 'bitfield']) {
    t.deepEqual(describeFile(files[file]!), entry.files[file], file)
  }
  // A hole where there were bytes that nobody reads any more (quirk 8), or the bytes.
  const data = Buffer.concat(blocksOf(entry, 0, 20))
  const hole = Buffer.from(data).fill(0, 35, 70)
  t.ok(files.data!.equals(data) || files.data!.equals(hole), 'data, with or without a hole')
})

test('storage vector truncated: truncating seven blocks to five', async (t) => {
  const entry = entries.find(({ name }) => name === 'truncated')!
  const folder = path.join(await temporaryFolder(t), 'feed')
  const feed = writer(entry, folder, ours())
  for (const block of blocksOf(entry, 0, 7)) await feed.append(block)
  await feed.truncate(5)
  await checkState(t, feed, entry)
  await feed.close()
  const files = await sixFiles(folder)
  for (const file of ['key', 'secret_key', 'signatures']) {
    t.deepEqual(describeFile(files[file]!), entry.files[file], file)
  }
  // Data bits of the removed blocks are the defect (quirk 5): bits 5 and 6 of the first page must be gone.
  t.equal(files.bitfield![32]! & 0b0000_0111, 0, 'no data bits of removed blocks')
  const again = ours()(folder)
  await again.ready()
  await checkState(t, again, entry)
  await again.close()
})

test('storage vector recover-tree-short made by hand', async (t) => {
  const entry = entries.find(({ name }) => name === 'recover-tree-short')!
  const five = entries.find(({ name }) => name === 'five-single')!
  const folder = path.join(await temporaryFolder(t), 'feed')
  await appended(five, folder, ours(), [1, 1, 1, 1, 1])
  await truncate(path.join(folder, 'tree'), entry.files.tree!.size)
  // With a checkpoint the block is found again: see test/damage/lost-tree.test.ts.
  for (const name of CHECKPOINT_NAMES) await rm(path.join(folder, name), { force: true })
  const files = await sixFiles(folder)
  for (const [file, expected] of Object.entries(entry.files))
    t.deepEqual(describeFile(files[file]!), expected, file)
  const feed = ours()(folder)
  await feed.ready()
  await checkState(t, feed, entry.afterOpening!)
  t.equal(await feed.append('again'), 4, 'and the lost block can be appended again (quirk 6)')
  const { index, signature } = await feed.signature(4)
  t.equal(await feed.verify(index, signature), true, 'signed')
  await feed.close()
})
