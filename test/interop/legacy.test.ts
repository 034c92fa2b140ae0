/** Directories from before the current format: written on by either package, read by the other. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import type { OpenFeed } from '../helpers/feed-face.ts'
import { copyStorageVector, differenceOf, sixFiles, temporaryFolder, vector } from '../helpers/folders.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import type { VectorEntry } from '../helpers/vectors.ts'

const { entries, secretKeys } = vector<{
  entries: VectorEntry[]
  secretKeys: { seed: string; publicKey: string }[]
}>('storage/index.json')

const oneByte = (start: number, end: number) =>
  Array.from({ length: end - start }, (_, i) => Buffer.from([(start + i) & 255]))

/** Writes ten thousand blocks into pages of the old size, then some more after reopening. */
async function legacyPages(folder: string, open: OpenFeed): Promise<void> {
  const { key } = entries.find(({ name }) => name === 'legacy-page-size')!
  const { seed, publicKey } = secretKeys.find((pair) => pair.publicKey === key)!
  await mkdir(folder, { recursive: true })
  const header = Buffer.alloc(32)
  header.set([5, 2, 87, 0, 0, 3328 >> 8, 3328 & 255])
  await writeFile(path.join(folder, 'bitfield'), header)
  const options = { secretKey: Buffer.from(seed + publicKey, 'hex') }
  const feed = open(folder, Buffer.from(publicKey, 'hex'), options)
  for (let i = 0; i < 10_000; i += 2000) await feed.append(oneByte(i, i + 2000))
  await feed.close()
}

test('pages of the old size: both write the same, and each continues what the other wrote', async (t) => {
  const folder = await temporaryFolder(t)
  const packages = [
    ['ours', ours(), published],
    ['published', published, ours()]
  ] as const
  for (const [name, first, second] of packages) {
    const at = path.join(folder, name)
    await legacyPages(at, first)
    const feed = second(at)
    t.equal(await feed.append(oneByte(10_000, 10_007)), 10_000, 'the other one appends')
    await feed.clear(4000, 4100, { delete: false })
    await feed.close()
    const again = first(at)
    await again.append(oneByte(10_007, 10_010))
    t.equal(again.downloaded(), 9910, `what is here, says ${name}`)
    for (const i of [0, 3999, 4100, 8191, 8192, 9999, 10_006, 10_009]) {
      t.deepEqual(
        Buffer.from((await again.get(i, { wait: false })) as Uint8Array),
        Buffer.from([i & 255]),
        `block ${i}`
      )
    }
    t.equal(again.has(4000), false, 'a cleared block')
    const { index, signature } = await again.signature(10_009)
    t.equal(await again.verify(index, signature), true, 'signed')
    t.deepEqual({ ...(await again.audit()) }, { valid: 9910, invalid: 0 }, 'audit')
    await again.close()
    const { bitfield } = await sixFiles(at)
    t.equal(bitfield!.readUInt16BE(5), 3328, 'the page size is kept')
  }
  const [mine, theirs] = [
    await sixFiles(path.join(folder, 'ours')),
    await sixFiles(path.join(folder, 'published'))
  ]
  t.equal(differenceOf(mine, theirs), null, 'all six files are equal, whoever began')
})

test('signatures of the old rule: each continues, and the other verifies', async (t) => {
  const folder = await temporaryFolder(t)
  const { blocks } = entries.find(({ name }) => name === 'legacy-signatures')!
  for (const [name, first, second] of [
    ['ours', ours(), published],
    ['published', published, ours()]
  ] as const) {
    const at = path.join(folder, name)
    await copyStorageVector('legacy-signatures', at)
    const feed = first(at)
    t.equal(await feed.append(['f', 'g']), 5, `${name} appends`)
    await feed.close()
    const again = second(at)
    await again.ready()
    t.deepEqual((await again.getBatch(0, 7)).map(String), [...blocks!, 'f', 'g'], 'blocks')
    for (let i = 0; i < 7; i++) {
      const { index, signature } = await again.signature(i)
      t.equal(await again.verify(index, signature), true, `the signature for block ${i}`)
    }
    t.deepEqual({ ...(await again.audit()) }, { valid: 7, invalid: 0 }, 'audit')
    // A block of the old part is proven by its old signature.
    const old = second(path.join(folder, `${name}-copy`), again.key, { sparse: true })
    const proof = await again.proof(2)
    await old.put(2, Buffer.from('c'), proof)
    t.equal(String(await old.get(2)), 'c', 'proven')
    await old.close()
    await again.append('h')
    await again.close()
    const last = first(at)
    t.equal(String(await last.get(7)), 'h', 'and back')
    await last.close()
  }
  const legacy = path.join(folder, 'untouched')
  await copyStorageVector('legacy-signatures', legacy)
  const source = ours()(legacy)
  await source.ready()
  for (const [name, open] of [
    ['ours', ours()],
    ['published', published]
  ] as const) {
    const replica = open(path.join(folder, `replica-${name}`), source.key, { sparse: true })
    for (let i = 0; i < 5; i++) await replica.put(i, Buffer.from(blocks![i]!), await source.proof(i))
    t.equal(replica.length, 5, `${name} accepts a proof with a signature of the old rule`)
    await replica.close()
  }
  await source.close()
  const mine = await sixFiles(path.join(folder, 'replica-ours'))
  t.equal(
    differenceOf(mine, await sixFiles(path.join(folder, 'replica-published'))),
    null,
    'with equal bytes'
  )
})

test('a feed whose page size is current', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'feed')
  await copyStorageVector('five', folder)
  const feed = ours()(folder)
  await feed.append('f')
  await assertFeedIs(feed, { blocks: ['a', 'b', 'c', 'd', 'e', 'f'].map((text) => Buffer.from(text)) })
  await feed.close()
  t.equal((await sixFiles(folder)).bitfield!.readUInt16BE(5), 3584, 'keeps it too')
})
