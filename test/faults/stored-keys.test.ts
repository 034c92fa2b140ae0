/**
 * Opening what does not fit together: keys that are absent, empty, cut or unreadable, another feed, foreign headers.
 * Each is an error with a code, and not a byte is written.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours, oursHypercore } from '../helpers/ours.ts'
import { rejection } from '../helpers/watchdog.ts'
import { assertDiskError } from './sweep.ts'

const open = ours()
const BLOCKS = Array.from({ length: 5 }, (_, i) => Buffer.from(`block ${i}`))
const OTHER = keyPair(Buffer.alloc(32, 9))

async function stored(...appended: Buffer[]): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = open(files.factory())
  await feed.ready()
  if (appended.length > 0) await feed.append(appended)
  await feed.close()
  return files
}

/** Opening fails with one of the codes, twice in a row, and changes nothing. */
async function assertRefused(
  t: Test,
  files: MemoryFiles,
  what: string,
  codes: readonly string[] | null,
  key: Uint8Array | null = null,
  options: object = {}
): Promise<void> {
  const before = files.toHex()
  const feed = open(files.factory(), key, options)
  const error = await rejection(feed.ready(), what)
  if (codes === null) t.equal(typeof error.code, 'string', `${what}: ${String(error.code)}`)
  else t.ok(codes.includes(String(error.code)), `${what}: ${String(error.code)}`)
  t.deepEqual(files.toHex(), before, 'nothing was written')
  await rejection(feed.ready(), `${what}, once more`)
  t.deepEqual(files.toHex(), before, 'nor by a second try')
  await feed.close().catch(() => {})
}

const CONDITIONS: Record<string, (files: MemoryFiles, name: string) => void> = {
  absent: (files, name) => files.put(name, null),
  empty: (files, name) => files.put(name, new Uint8Array(0)),
  cut: (files, name) => files.put(name, files.read(name)!.subarray(0, 16))
}

for (const [condition, damage] of Object.entries(CONDITIONS)) {
  const codes = condition === 'cut' ? ['ERR_KEY_DAMAGED'] : ['ERR_KEY_MISSING']
  test(`the key is ${condition}`, async (t) => {
    const content = await stored(...BLOCKS)
    damage(content, 'key')
    await assertRefused(t, content.clone(), 'beside content and a secret key', codes)
    await assertRefused(t, content.clone(), 'with createIfMissing: false', null, null, {
      createIfMissing: false
    })
    content.put('secret_key', null)
    await assertRefused(t, content, 'beside content', codes)

    const empty = await stored()
    damage(empty, 'key')
    await assertRefused(t, empty, 'beside a secret key', codes)
    for (const name of ['tree', 'signatures', 'bitfield']) empty.put(name, null)
    await assertRefused(t, empty, 'beside nothing but a secret key', codes)
  })
}

test('the secret key is cut, or of another feed', async (t) => {
  const files = await stored(...BLOCKS)
  const cut = files.clone()
  cut.put('secret_key', files.read('secret_key')!.subarray(0, 40))
  await assertRefused(t, cut, 'cut', ['ERR_SECRET_KEY_DAMAGED'])
  const foreign = files.clone()
  foreign.put('secret_key', OTHER.secretKey)
  await assertRefused(t, foreign, 'of another feed', ['ERR_SECRET_KEY_MISMATCH'])
  const mixed = files.clone()
  mixed.put('secret_key', Buffer.concat([OTHER.secretKey.subarray(0, 32), files.read('key')!]))
  await assertRefused(t, mixed, 'with the seed of another feed', ['ERR_SECRET_KEY_MISMATCH'])

  const given = new MemoryFiles()
  const options = { secretKey: OTHER.secretKey }
  await assertRefused(
    t,
    given,
    'given for another key',
    ['ERR_SECRET_KEY_MISMATCH'],
    Buffer.alloc(32, 1),
    options
  )
})

for (const condition of ['absent', 'empty'] as const) {
  test(`the secret key is ${condition}: a feed to read`, async (t) => {
    const files = await stored(...BLOCKS)
    CONDITIONS[condition]!(files, 'secret_key')
    const feed = open(files.factory())
    await feed.ready()
    t.equal(feed.writable, false, 'not writable')
    await assertFeedIs(feed, { blocks: BLOCKS })
    await feed.close()
    t.equal(files.read('secret_key')?.byteLength ?? 0, 0, 'no secret key was made up')
    const error = await rejection(open(files.factory(), null, { writable: true }).ready(), 'writable: true')
    t.equal(error.message, 'Feed is not writable', 'and not if it must be writable')
    t.equal(error.code, 'ERR_NOT_WRITABLE_OPTION')
  })
}

test('a key is made only where nothing is stored', async (t) => {
  const files = new MemoryFiles()
  const probe = open(files.factory(), null, { createIfMissing: false })
  const error = await rejection(probe.ready(), 'createIfMissing: false')
  t.equal(error.message, 'No ddatabase is stored here')
  t.equal(error.code, 'ERR_NO_FEED')
  t.equal(files.read('key'), null, 'no key is stored')
  t.equal(files.read('secret_key'), null, 'no secret key is stored')
  const feed = open(files.factory())
  await feed.append(BLOCKS)
  await assertFeedIs(feed, { blocks: BLOCKS })
  await feed.close()
  const again = open(files.factory(), null, { createIfMissing: false })
  await again.ready()
  await assertFeedIs(again, { blocks: BLOCKS })
  await again.close()
  const hypercore = oursHypercore()(new MemoryFiles().factory(), null, { createIfMissing: false })
  t.equal((await rejection(hypercore.ready(), 'hypercore')).message, 'No hypercore is stored here')
  for (const name of ['key', 'secret_key'] as const) {
    const emptied = new MemoryFiles()
    emptied.put(name, new Uint8Array(0))
    const fresh = open(emptied.factory())
    await fresh.append(BLOCKS)
    t.equal(fresh.writable, true, `an empty ${name} and nothing else is a new feed`)
    await fresh.close()
  }
})

for (const file of ['key', 'secret_key', 'bitfield', 'tree', 'signatures']) {
  test(`${file} cannot be read: that is not "absent"`, async (t) => {
    for (const [what, base] of [
      ['a feed', await stored(...BLOCKS)],
      ['an empty feed', await stored()]
    ] as const) {
      for (const operation of ['open', 'read', 'stat'] as const) {
        const files = base.clone()
        const plan = new FaultPlan()
        plan.arm('before', 1, (name, action) => name === file && action === operation)
        const before = files.toHex()
        const [answer] = await Promise.allSettled([open(files.factory(plan)).ready()])
        if (plan.injected === null) {
          t.ok(answer.status === 'fulfilled' && operation !== 'open', `${what}: ${operation} is not needed`)
          continue
        }
        t.equal(answer.status, 'rejected', `${what}: a failing ${operation} fails the opening`)
        if (answer.status === 'rejected') t.doesNotThrow(() => assertDiskError(answer.reason), 'with a code')
        t.deepEqual(files.toHex(), before, 'nothing was written')
      }
    }
  })
}

test('a new feed is not made where the key cannot be read', async (t) => {
  for (const operation of ['open', 'read', 'stat'] as const) {
    const files = new MemoryFiles()
    for (const name of ['key', 'secret_key']) files.put(name, new Uint8Array(0))
    const plan = new FaultPlan()
    plan.arm('before', 1, (name, action) => name === 'key' && action === operation)
    const [answer] = await Promise.allSettled([open(files.factory(plan)).ready()])
    if (plan.injected === null) continue
    t.equal(answer.status, 'rejected', `a failing ${operation}`)
    t.equal(files.read('key')!.byteLength, 0, 'no key')
    t.equal(files.read('secret_key')!.byteLength, 0, 'no secret key')
  }
})

test('storage of another feed', async (t) => {
  const files = await stored(...BLOCKS)
  await assertRefused(t, files, 'another key', ['ERR_OTHER_FEED'], OTHER.publicKey)
  await assertRefused(t, files, 'another pair', ['ERR_OTHER_FEED'], OTHER.publicKey, {
    secretKey: OTHER.secretKey
  })
  const error = await rejection(open(files.factory(), OTHER.publicKey).ready(), 'another key')
  t.equal(error.message, 'Another ddatabase is stored here')
  const hypercore = oursHypercore()(files.factory(), OTHER.publicKey)
  t.equal((await rejection(hypercore.ready(), 'another key')).message, 'Another hypercore is stored here')
  const forced = oursHypercore()(files.factory(), OTHER.publicKey, {
    secretKey: OTHER.secretKey,
    force: true
  })
  await forced.append('mine')
  t.equal(forced.length, 1, 'force in the hypercore dialect starts anew')
  await forced.close()
})

const HEADER_DAMAGE: Record<string, (header: Buffer) => void> = {
  'no magic': (header) => header.fill(0, 0, 3),
  'another magic': (header) => header.write('PK', 0),
  'another type': (header) => header.writeUInt8((header.readUInt8(3) + 1) % 3, 3),
  'another version': (header) => header.writeUInt8(1, 4),
  'another entry size': (header) => header.writeUInt16BE(48, 5),
  'another algorithm': (header) =>
    header.write(header.readUInt8(7) > 0 ? 'X' : '\u0001X', header.readUInt8(7) > 0 ? 8 : 7)
}

for (const file of ['bitfield', 'tree', 'signatures']) {
  test(`${file} with a foreign or damaged header`, async (t) => {
    const base = await stored(...BLOCKS)
    for (const [what, damage] of Object.entries(HEADER_DAMAGE)) {
      const files = base.clone()
      const content = Buffer.from(files.read(file)!)
      damage(content)
      files.put(file, content)
      await assertRefused(t, files, what, ['ERR_HEADER_INVALID'])
    }
    for (const size of [1, 10, 31]) {
      const files = base.clone()
      files.put(file, files.read(file)!.subarray(0, size))
      await assertRefused(t, files, `only ${size} bytes`, null)
    }
  })
}

test('content that is missing', async (t) => {
  const base = await stored(...BLOCKS)
  for (const file of ['tree']) {
    for (const size of [null, 0, 32, 32 + 40 * 3]) {
      const files = base.clone()
      files.put(file, size === null ? null : base.read(file)!.subarray(0, size))
      await assertRefused(t, files, `${file} cut to ${size}`, null)
    }
  }
  // The blocks' bytes are not looked at by an opening; reading and auditing say that they are gone.
  const files = base.clone()
  files.put('data', base.read('data')!.subarray(0, 20))
  const feed = open(files.factory())
  await feed.ready()
  assert.deepEqual(Buffer.from((await feed.get(1)) as Uint8Array), BLOCKS[1])
  t.equal(typeof (await rejection(feed.get(4), 'a block beyond the end of data')).code, 'string', 'get')
  t.deepEqual(
    { ...(await feed.audit()) },
    { valid: 2, invalid: 2 },
    'audit: reading has noticed the other one'
  )
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => feed.has(i)),
    [true, true, false, false, false],
    'and they count as missing'
  )
  await feed.append('next')
  const blocks = [...BLOCKS, Buffer.from('next')]
  await assertFeedIs(feed, { blocks, present: [true, true, false, false, false, true] })
  await feed.close()
})

test('a damaged block', async (t) => {
  const files = await stored(...BLOCKS)
  const data = Buffer.from(files.read('data')!)
  data[8]! ^= 1
  files.put('data', data)
  const feed = open(files.factory())
  t.deepEqual({ ...(await feed.audit()) }, { valid: 4, invalid: 1 }, 'audit finds it')
  t.equal(feed.has(1), false, 'it counts as missing')
  t.deepEqual({ ...(await feed.audit()) }, { valid: 4, invalid: 0 }, 'once')
  await feed.close()
  const again = open(files.factory())
  await again.ready()
  t.equal(again.has(1), false, 'also after reopening')
  const source = open((await stored(...BLOCKS)).factory())
  await source.ready()
  await again.close()
  await source.close()
})

test('an empty file for a secret key is one that was lost', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'feed')
  const secret = path.join(folder, 'secret_key')
  const feed = open(folder)
  await feed.append(BLOCKS)
  const { key } = feed
  await feed.close()
  const kept = await readFile(secret)
  await writeFile(secret, '')
  for (const given of [null, key]) {
    const error = await rejection(open(folder, given).ready(), 'an empty secret key')
    t.equal(error.code, 'ERR_SECRET_KEY_DAMAGED')
  }
  const again = open(folder, key, { secretKey: kept })
  await again.ready()
  t.equal(again.writable, true, 'whoever has it may give it')
  await again.close()
  t.deepEqual(await readFile(secret), kept, 'and it is stored again')

  const copy = open(folder, OTHER.publicKey, { overwrite: true })
  await copy.ready()
  await copy.close()
  t.equal(existsSync(secret), false, 'what is overwritten by a copy has no such file')
  const reopened = open(folder)
  await reopened.ready()
  t.equal(reopened.writable, false)
  await reopened.close()
  const destroyed = open(folder, OTHER.publicKey, { overwrite: true })
  await destroyed.ready()
  await destroyed.call('destroyStorage')
  t.deepEqual(await readdir(folder), [])
})

test('a copy where the creation of another feed was cut short', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'secret_key'), '')
  for (let opening = 0; opening < 2; opening++) {
    const copy = open(folder, OTHER.publicKey, { durability: 'disk' })
    await copy.ready()
    t.equal(copy.writable, false)
    await copy.close()
  }
})

test('a copy whose key is damaged, or of another feed', async (t) => {
  const author = open(new MemoryFiles().factory())
  await author.append(BLOCKS)
  for (const blocks of [[0, 1, 2, 3, 4], [2]]) {
    const folder = await temporaryFolder(t)
    const copy = open(folder, author.key, { sparse: true })
    for (const block of blocks)
      await copy.call('put', block, BLOCKS[block], await author.call('proof', block))
    await copy.close()
    const file = path.join(folder, 'key')
    const kept = await readFile(file)
    const bit = Buffer.from(kept)
    bit[7]! ^= 16
    for (const [what, bytes] of Object.entries({ 'a bit': bit, 'another key': OTHER.publicKey })) {
      await writeFile(file, bytes)
      const refused = open(folder)
      const error = await rejection(refused.ready(), what)
      t.equal(error.code, 'ERR_KEY_DAMAGED', `${what}, ${blocks.length} blocks`)
      await refused.close()
    }
    await writeFile(file, kept)
    const again = open(folder)
    await again.ready()
    t.deepEqual([again.length, again.downloaded()], [5, blocks.length], 'nothing was taken away')
    await again.close()
    await writeFile(file, OTHER.publicKey)
    const other = open(folder, null, { repair: true })
    await other.ready()
    t.equal(other.length, 0, 'with repair it is that feed, of which nothing is here')
    await other.close()
  }
  await author.close()
})
