/**
 * Signatures beyond the end that an opening comes to: of a history that was lost, or left by somebody who truncated or overwrote. An author
 * appends nothing below the first kind.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import flat from 'flat-tree'
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import ddatabase, { type Feed, type FeedOptions, type Storage } from '../../src/index.ts'
import { CHECKPOINT_NAMES } from '../../src/storage/checkpoint-files.ts'
import { SimulatedDisk } from '../crash/disk.ts'
import { failure } from '../feed/feeds.ts'
import { copyStorageVector, temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveVerify } from '../helpers/models.ts'
import { published } from '../helpers/published.ts'
import { slotOf } from './stored.ts'

const BLOCKS = Array.from({ length: 20 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')
const OTHER = keyPair(Buffer.alloc(32, 5))

/** Opens these files where checkpoints are kept, as in a directory. */
function on(files: MemoryFiles, options: FeedOptions = {}): Feed {
  return ddatabase(new SimulatedDisk({ extraFiles: true }, files).factory() as never as Storage, options)
}

async function stored(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const disk = new SimulatedDisk({ extraFiles: true }, files)
  const feed = ddatabase(disk.factory() as never as Storage)
  for (const block of BLOCKS) await feed.append(block)
  await feed.close()
  return disk.files
}

function change(files: MemoryFiles, name: string, edit: (content: Buffer) => void): void {
  const content = Buffer.from(files.read(name)!)
  edit(content)
  files.put(name, content)
}

/** What nodes hold that nothing mends: hashes and sizes of nothing. */
function spoilNodes(files: MemoryFiles, first: number, last: number): void {
  change(files, 'tree', (tree) => {
    for (let node = first; node <= last; node++) tree.fill(node + 1, slotOf(node), slotOf(node + 1))
  })
}

/** Takes the bits of nodes, and so the length that the bits tell. */
function takeBits(files: MemoryFiles, nodes: readonly number[]): void {
  change(files, 'bitfield', (bits) => {
    for (const node of nodes) bits[32 + 1024 + (node >> 3)]! &= ~(128 >> (node & 7))
  })
}

test('signatures above nodes that are damaged, where the bits tell less', async (t) => {
  const base = await stored()
  for (const checkpoints of [false, true]) {
    for (const left of [1, 2, 5, 8, 11]) {
      const files = base.clone()
      spoilNodes(files, 2 * left, 38)
      const all = Array.from({ length: 39 }, (_, node) => node)
      // The bits of parents that reach beyond, and with checkpoints, whose roots are not here any more, all that tell of more.
      takeBits(
        files,
        checkpoints
          ? all.filter((node) => flat.rightSpan(node) >= 2 * left)
          : [1, 3, 7, 15].filter((node) => node + 1 > left)
      )
      if (!checkpoints) for (const name of CHECKPOINT_NAMES) files.put(name, null)
      for (const repair of [false, true]) {
        const what = `${left} blocks left, checkpoints: ${checkpoints}, repair: ${repair}`
        const feed = on(files.clone(), { repair })
        const behind: number[] = []
        feed.on('behind', (length) => behind.push(length))
        const { code } = await failure(feed.append(NEXT), what)
        t.deepEqual([code, behind], ['ERR_BEHIND', [20]], what)
        const { length } = feed
        t.equal(await feed.append(NEXT, { force: true }), length, 'unless it insists')
        await feed.close()
      }
    }
  }
})

test('the signature of the end is lost, and the roots are not what a checkpoint says: repair appends nothing', async (t) => {
  const files = await stored()
  spoilNodes(files, 15, 38)
  change(files, 'signatures', (signatures) => signatures.fill(0, 32 + 64 * 19))
  t.equal((await failure(on(files.clone()).ready())).code, 'ERR_FEED_DAMAGED')
  const disk = new SimulatedDisk({ extraFiles: true }, files)
  const feed = ddatabase(disk.factory() as never as Storage, { repair: true })
  t.equal((await failure(feed.append(NEXT))).code, 'ERR_BEHIND')
  t.equal(feed.length, 8)
  await feed.close()
  const again = ddatabase(disk.factory() as never as Storage)
  t.equal((await failure(again.append(NEXT))).code, 'ERR_BEHIND', 'nor when it is opened again')
  await again.close()
})

test('what published packages leave when they truncate or overwrite is gone on with', async (t) => {
  for (let length = 1; length < BLOCKS.length; length++) {
    for (const more of [0, 1, 2]) {
      for (const how of ['truncated', 'overwritten'] as const) {
        const files = new MemoryFiles()
        let feed = published(files.factory())
        for (let i = 0; i < BLOCKS.length; i += 2) await feed.append(BLOCKS.slice(i, i + 2))
        const history = BLOCKS.slice(0, length)
        if (how === 'truncated') await feed.call('truncate', length)
        else {
          await feed.close()
          const { secretKey } = OTHER
          feed = published(files.factory(), Buffer.from(OTHER.publicKey), { secretKey, overwrite: true })
          history.reverse()
          for (const block of history) await feed.append(block)
        }
        for (let i = 0; i < more; i++) {
          history.push(Buffer.from(`other ${i}`))
          await feed.append(history.at(-1))
        }
        await feed.close()
        const ours = on(files)
        const what = `${how}, ${length} and ${more} blocks`
        const seq = await ours.append(NEXT).catch((error) => error.code)
        if (seq !== length + more) t.fail(`${what}: ${seq}`)
        const { signature } = await ours.signature(length + more)
        const holds = naiveVerify([...history, NEXT], history.length + 1, signature, ours.key!)
        if (!holds) t.fail(`${what}: a false history`)
        await ours.close()
      }
    }
  }
  t.pass('all of them')
})

test('what published packages leave when they overwrite is no longer history once a checkpoint was made', async (t) => {
  for (const length of [1, 2, 5, 12]) {
    const files = new MemoryFiles()
    let feed = published(files.factory())
    for (const block of BLOCKS) await feed.append(block)
    await feed.close()
    const { secretKey } = OTHER
    feed = published(files.factory(), Buffer.from(OTHER.publicKey), { secretKey, overwrite: true })
    for (const block of BLOCKS.slice(0, length)) await feed.append(block)
    await feed.close()
    let left = files
    for (let opening = 0; opening < 3; opening++) {
      const disk = new SimulatedDisk({ extraFiles: true }, left)
      const ours = ddatabase(disk.factory() as never as Storage)
      const seq = await ours.append(NEXT).catch((error) => error.code)
      t.equal(seq, length + opening, `${length} blocks, opening ${opening}`)
      await ours.close()
      left = disk.files
    }
  }
})

test('a block that a published package has not finished is given up, and its place is free, however often that is looked at', async (t) => {
  const folder = await temporaryFolder(t)
  await copyStorageVector('recover-tree-short', folder)
  const before = await readFile(path.join(folder, 'signatures'))
  for (let opening = 0; opening < 2; opening++) {
    const feed = ddatabase(folder)
    await feed.ready()
    t.deepEqual([feed.length, feed.recovery?.formerLength], [4, 5])
    await feed.close()
    t.ok(before.equals(await readFile(path.join(folder, 'signatures'))), 'who only looks changes nothing')
  }
  let feed = ddatabase(folder)
  await feed.clear(0)
  t.equal(
    (await readFile(path.join(folder, 'signatures'))).byteLength,
    32 + 4 * 64,
    'its signature goes with the first change'
  )
  await feed.close()
  for (let length = 4; length < 6; length++) {
    feed = ddatabase(folder)
    t.equal(await feed.append(NEXT), length)
    t.deepEqual({ ...(await feed.audit()) }, { valid: length, invalid: 0 })
    await feed.close()
  }
})

test('truncated within a batch that was written over what another feed has left', async (t) => {
  const files = new MemoryFiles()
  let feed = published(files.factory())
  for (const block of BLOCKS) await feed.append(block)
  await feed.close()
  const { secretKey } = OTHER
  feed = published(files.factory(), Buffer.from(OTHER.publicKey), { secretKey, overwrite: true })
  await feed.append(BLOCKS.slice(0, 9))
  await feed.close()
  const ours = ddatabase(files.factory() as never as Storage)
  await ours.clear(5, 6)
  await ours.truncate(6)
  await ours.close()
  const again = ddatabase(files.factory() as never as Storage)
  await again.ready()
  t.deepEqual([again.length, again.recovery], [6, null], 'it is signed')
  await again.close()
})

test('truncated by a published package within a batch that was written over what another feed has left', async (t) => {
  for (const directory of [false, true]) {
    const files = new MemoryFiles()
    let feed = published(files.factory())
    for (const block of BLOCKS) await feed.append(block)
    await feed.close()
    const { secretKey } = OTHER
    feed = published(files.factory(), Buffer.from(OTHER.publicKey), { secretKey, overwrite: true })
    await feed.append(BLOCKS[0]!)
    await feed.append(BLOCKS.slice(1, 13))
    await feed.truncate(9)
    await feed.close()
    const ours = directory ? on(files) : ddatabase(files.factory() as never as Storage)
    await ours.ready()
    t.deepEqual([ours.length, ours.recovery?.signed], [9, true], 'its end is signed now')
    const { index, signature } = await ours.signature()
    t.ok(index === 8 && naiveVerify(BLOCKS.slice(0, 9), 9, signature, ours.key!))
    t.equal(await ours.append(NEXT), 9)
    t.deepEqual({ ...(await ours.audit()) }, { valid: 10, invalid: 0 })
    await ours.close()
  }
})

test('an end within a batch that a published package has truncated to is signed with the first change', async (t) => {
  for (const place of ['directory', 'synchronised', 'plain']) {
    const files = new MemoryFiles()
    let feed = published(files.factory())
    await feed.append(BLOCKS.slice(0, 4))
    await feed.close()
    feed = published(files.factory())
    await feed.truncate(3)
    await feed.close()
    const disk = new SimulatedDisk(
      { extraFiles: place === 'directory', withoutSync: place === 'plain' },
      files
    )
    const open = () => ddatabase(disk.factory() as never as Storage)
    let ours = open()
    await ours.ready()
    await ours.close()
    const before = disk.files.read('signatures')
    t.ok(
      before === null || before.subarray(32).every((byte) => byte === 0),
      'whoever only reads signs nothing'
    )
    ours = open()
    await ours.clear(2, 3)
    await ours.close()
    ours = open()
    await ours.ready()
    t.deepEqual([ours.length, ours.recovery, ours.has(0), ours.has(2)], [3, null, true, false], place)
    const { index, signature } = await ours.signature()
    t.ok(index === 2 && naiveVerify(BLOCKS.slice(0, 3), 3, signature, ours.key!))
    t.equal(await ours.append(NEXT), 3)
    await ours.close()
  }
})

test('a truncation leaves nothing behind the signatures of what is left', async (t) => {
  const disk = new SimulatedDisk({ extraFiles: true })
  const open = () => ddatabase(disk.factory() as never as Storage)
  let feed = open()
  for (const block of BLOCKS) await feed.append(block)
  await feed.close()
  // As an append leaves it that was interrupted.
  const { files } = disk
  files.put('signatures', Buffer.concat([files.read('signatures')!, Buffer.alloc(7)]))
  feed = open()
  await feed.truncate(5)
  t.equal(files.read('signatures')!.byteLength, 32 + 5 * 64)
  await feed.close()
})

test('emptied by a published package, beside a checkpoint, and begun with a block that leaves the bytes of before', async (t) => {
  const disk = new SimulatedDisk({ extraFiles: true })
  const first = ddatabase(disk.factory() as never as Storage)
  await first.append(BLOCKS[0]!)
  await first.close()
  const { files } = disk
  const feed = published(files.factory())
  await feed.truncate(0)
  await feed.append(Buffer.alloc(0))
  await feed.close()
  const ours = on(files)
  t.equal(await ours.append(NEXT), 1)
  t.equal(((await ours.get(0)) as Buffer).byteLength, 0)
  await ours.close()
})

test('appended to by a published package at an end that is not signed, beside a checkpoint of it', async (t) => {
  const files = new MemoryFiles()
  let feed = published(files.factory())
  await feed.append(BLOCKS.slice(0, 2))
  await feed.append(BLOCKS.slice(2, 8))
  await feed.truncate(5)
  await feed.close()
  const disk = new SimulatedDisk({ extraFiles: true }, files)
  const first = ddatabase(disk.factory() as never as Storage)
  await first.clear(0, 1)
  await first.close()
  feed = published(disk.files.factory())
  for (let i = 0; i < 3; i++) await feed.append(NEXT)
  await feed.close()
  const ours = on(disk.files)
  t.equal(await ours.append(NEXT), 8)
  await ours.close()
})

test('truncated by a published package within a batch, beside a checkpoint', async (t) => {
  for (const made of [2, 5]) {
    for (const cleared of [null, 5, 10]) {
      for (const more of [0, 2]) {
        const what = `checkpoint of ${made} blocks, ${cleared} cleared, ${more} more`
        let files = new MemoryFiles()
        const disk = new SimulatedDisk({ extraFiles: true }, files)
        const first = ddatabase(disk.factory() as never as Storage)
        for (const block of BLOCKS.slice(0, made)) await first.append(block)
        await first.close()
        files = disk.files
        let feed = published(files.factory())
        await feed.append(BLOCKS.slice(made, 15))
        if (cleared !== null) await feed.clear(cleared, cleared + 1)
        await feed.truncate(11)
        await feed.close()
        // It does not sign what it appends to a feed without a signature of its end.
        feed = published(files.factory())
        for (let i = 0; i < more; i++) await feed.append(NEXT)
        await feed.close()
        const history = [...BLOCKS.slice(0, 11), ...Array<Buffer>(more).fill(NEXT)]
        const ours = on(files)
        t.equal(await ours.append(NEXT).catch((error) => error.code), history.length, what)
        for (const [i, block] of history.entries()) {
          if (i !== cleared && !block.equals((await ours.get(i)) as Buffer)) t.fail(`${what}: block ${i}`)
        }
        const { signature } = await ours.signature(history.length)
        t.ok(naiveVerify([...history, NEXT], history.length + 1, signature, ours.key!), what)
        await ours.close()
      }
    }
  }
})

/** Truncated by a published package to a length that was never signed, of which the last block was cleared. */
async function unsignedAndCleared(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = published(files.factory())
  await feed.append(BLOCKS.slice(0, 4))
  await feed.append(BLOCKS.slice(4, 14))
  await feed.call('clear', 10, 11)
  await feed.call('truncate', 11)
  await feed.close()
  change(files, 'data', (data) => {
    const offset = BLOCKS.slice(0, 10).reduce((sum, { byteLength }) => sum + byteLength, 0)
    // As a storage leaves it that punches holes.
    data.fill(0, offset, offset + BLOCKS[10]!.byteLength)
  })
  return files
}

test('an end that is not signed, of a pair that was cleared', async (t) => {
  const files = new MemoryFiles()
  const feed = published(files.factory())
  await feed.append(BLOCKS)
  await feed.clear(10, 12)
  await feed.truncate(11)
  await feed.close()
  for (const file of [null, 'tree']) {
    const ours = on(files)
    if (file === null) t.equal(await ours.append(NEXT), 11, 'their parent tells that it is right')
    else t.equal((await failure(ours.ready())).code, 'ERR_FEED_DAMAGED', 'or not')
    await ours.close().catch(() => {})
    change(files, 'tree', (tree) => tree.writeUInt8(tree.readUInt8(slotOf(20)) ^ 1, slotOf(20)))
  }
})

test('an end that is not signed, of a leaf whose block is not here', async (t) => {
  const base = await unsignedAndCleared()
  const sound = on(base.clone())
  t.equal(await sound.append(NEXT), 11, 'the pair that was left tells that it is right')
  await sound.close()
  for (const [what, edit] of Object.entries<(tree: Buffer) => void>({
    'its hash': (tree) => tree.writeUInt8(tree.readUInt8(slotOf(20)) ^ 1, slotOf(20)),
    'its size': (tree) => tree.writeUInt8(3, slotOf(20) + 39),
    'its size and that of the other one': (tree) => {
      tree.writeUInt8(tree.readUInt8(slotOf(20) + 39) + 1, slotOf(20) + 39)
      tree.writeUInt8(tree.readUInt8(slotOf(22) + 39) - 1, slotOf(22) + 39)
    }
  })) {
    const files = base.clone()
    change(files, 'tree', edit)
    const { code, damage } = await failure(on(files).ready(), what)
    t.deepEqual([code, damage?.[0]?.file], ['ERR_FEED_DAMAGED', 'tree'], what)
  }
})

test('slots beyond the end that are empty or cut short go with the first change', async (t) => {
  const base = await stored()
  const end = 32 + 64 * BLOCKS.length
  for (const left of [1, 63, 64, 65, 3 * 64, 3 * 64 + 10]) {
    for (const closed of [true, false]) {
      const files = base.clone()
      // Bytes of a signature, or, before a whole slot that is empty, part of one.
      const scraps = Buffer.alloc(left)
      scraps.fill(7, left - (left % 64))
      files.put('signatures', Buffer.concat([files.read('signatures')!, scraps]))
      const what = `${left} bytes, ${closed ? 'with' : 'without'} a checkpoint`
      if (!closed) for (const name of CHECKPOINT_NAMES) files.put(name, null)
      const disk = new SimulatedDisk({ extraFiles: true }, files)
      for (const appends of [false, true]) {
        const feed = ddatabase(disk.factory() as never as Storage)
        await feed.ready()
        t.equal(feed.length, BLOCKS.length, `${what}: the feed is what it was`)
        if (!appends) {
          await feed.close()
          const size = disk.files.read('signatures')!.byteLength
          t.equal(size, end + left, `${what}: whoever only reads leaves them`)
          continue
        }
        // Two at once: the slot of the first stays empty.
        await feed.append([NEXT, NEXT])
        await feed.close()
        const slots = disk.files.read('signatures')!
        t.equal(slots.byteLength, end + 2 * 64, `${what}: they are gone`)
        t.ok(
          slots.subarray(end, end + 64).every((byte) => byte === 0),
          `${what}: the slot within the batch is empty`
        )
      }
    }
  }
})
