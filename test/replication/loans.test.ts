/** Memory that is used again: nobody who has seen a block finds another one there. */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import ram from 'random-access-memory'
import { Writable } from 'streamx'
import test, { type Test } from 'tape'
import { Feed } from '../../src/index.ts'
import { borrow } from '../../src/replication/loans.ts'
import { within } from '../helpers/watchdog.ts'

const BLOCKS = 200

/** Blocks of sizes around those of the memory that is lent; each is told from the others by its bytes. */
function block(index: number, size: number): Buffer {
  const bytes = Buffer.alloc(size + (index % 7), index)
  bytes.writeUInt32LE(index, 0)
  return bytes
}

interface Pair {
  writer: Feed<Buffer>
  copy: Feed<Buffer>
  size: number
  /** Copies everything. */
  replicate(options?: object): Promise<void>
}

/** A writer with blocks, and an empty copy. */
async function pair(t: Test, size: number, storage?: unknown, options: object = {}): Promise<Pair> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-loans-'))
  const writer = new Feed<Buffer>(path.join(folder, 'writer'))
  await writer.append(Array.from({ length: BLOCKS }, (_, i) => block(i, size)))
  const copy = new Feed<Buffer>((storage ?? path.join(folder, 'copy')) as string, writer.key!, options)
  await copy.ready()
  t.teardown(async () => {
    await writer.close()
    await copy.close()
    await rm(folder, { recursive: true })
  })
  return {
    writer,
    copy,
    size,
    async replicate(options = {}) {
      const there = writer.replicate(true, { live: true, ...options })
      const here = copy.replicate(false, { live: true, ...options })
      there.on('error', () => {})
      here.on('error', () => {})
      there.pipe(here).pipe(there)
      await copy.download({ start: 0, end: BLOCKS })
      here.destroy()
      there.destroy()
    }
  }
}

const right = (size: number) => (bytes: Buffer, i: number) => bytes.equals(block(i, size))

for (const size of [100, 9_000, 16_384, 65_536, 80_000]) {
  for (const authenticated of [true, false]) {
    const how = `${size} bytes, ${authenticated ? 'records' : 'the old wire'}`

    test(`loans: blocks that listeners keep stay what they were, ${how}`, async (t) => {
      const { writer, copy, replicate } = await pair(t, size)
      const downloaded = new Map<number, Buffer>()
      const uploaded = new Map<number, Buffer>()
      copy.on('download', (index, bytes) => void downloaded.set(index, bytes as Buffer))
      writer.on('upload', (index, bytes) => void uploaded.set(index, bytes as Buffer))
      await replicate({ authenticated })
      for (const [name, kept] of Object.entries({ downloaded, uploaded })) {
        t.equal(kept.size, BLOCKS, name)
        t.ok([...kept].every(([index, bytes]) => right(size)(bytes, index)))
      }
    })

    test(`loans: what is stored is right, ${how}`, async (t) => {
      const { copy, replicate } = await pair(t, size)
      // One listener that is gone when its block is stored.
      let first: [number, Buffer] | null = null
      copy.once('download', (index, bytes) => {
        first = [index, bytes as Buffer]
      })
      await replicate({ authenticated })
      t.ok(right(size)(first![1], first![0]), 'what the listener got')
      t.deepEqual(await copy.audit(), { valid: BLOCKS, invalid: 0 })
      t.ok((await copy.getBatch(0, BLOCKS)).every(right(size)))
    })
  }
}

const WIRES = {
  records: {},
  'the old wire': { authenticated: false },
  'no encryption': { encrypted: false },
  'no handshake': { encrypted: false, noise: false }
}

for (const size of [100, 9_000, 65_536]) {
  for (const [how, wire] of Object.entries(WIRES)) {
    test(`loans: who writes chunks to a stream may use their memory again, ${how}, ${size} bytes`, async (t) => {
      const { writer, copy } = await pair(t, size)
      const there = writer.replicate(true, { live: true, ...wire })
      const here = copy.replicate(false, { live: true, ...wire })
      const downloaded = new Map<number, Buffer>()
      const messages: Buffer[] = []
      copy.on('download', (index, bytes) => void downloaded.set(index, bytes as Buffer))
      copy.registerExtension('test', { onmessage: (message: unknown) => messages.push(message as Buffer) })
      const extension = writer.registerExtension('test')
      for (const [from, to] of [
        [there, here],
        [here, there]
      ] as const) {
        from.on('error', () => {})
        let written = Promise.resolve()
        from.on('data', (chunk) => {
          const bytes = Buffer.from(chunk)
          written = written.then(async () => {
            to.write(bytes)
            await Writable.drained(to)
            bytes.fill(0xdb)
          })
        })
      }
      const complete = copy.download({ start: 0, end: BLOCKS })
      copy.once('download', () => extension.broadcast(block(1, size)))
      const failed = new Promise((_, reject) => here.on('error', reject))
      await within(Promise.race([complete, failed]), 'the blocks')
      here.destroy()
      there.destroy()
      t.equal(downloaded.size, BLOCKS)
      t.ok(
        [...downloaded].every(([index, bytes]) => right(size)(bytes, index)),
        'what the listener got'
      )
      t.ok((await copy.getBatch(0, BLOCKS)).every(right(size)), 'what is stored')
      t.ok(messages.length === 1 && right(size)(messages[0]!, 1), 'the message')
    })
  }
}

for (const authenticated of [true, false]) {
  test(`loans: who records all events, ${authenticated ? 'records' : 'the old wire'}`, async (t) => {
    const { writer, copy, replicate } = await pair(t, 16_384)
    const kept: [number, Buffer][] = []
    for (const feed of [writer, copy]) {
      const { emit } = feed
      feed.emit = ((event: 'upload', ...values: [number, Buffer, never]) => {
        if (['download', 'upload'].includes(event)) kept.push([values[0], values[1]])
        return emit.call(feed, event, ...values)
      }) as never
    }
    await replicate({ authenticated })
    t.equal(kept.length, 2 * BLOCKS)
    t.ok(kept.every(([index, bytes]) => right(16_384)(bytes, index)))
  })
}

test('loans: a storage that keeps what it is given', async (t) => {
  const { copy, replicate } = await pair(t, 16_384, (name: string) => {
    const file = new ram()
    const write = file.write.bind(file)
    const kept: { offset: number; data: Buffer }[] = []
    // Written only when the file is read: what was given must not have changed until then.
    file.write = ((offset: number, data: Buffer, callback: (error: Error | null) => void) => {
      if (name !== 'data') return write(offset, data, callback)
      kept.push({ offset, data })
      queueMicrotask(() => callback(null))
    }) as typeof file.write
    const read = file.read.bind(file)
    file.read = ((offset: number, size: number, callback: never) => {
      for (const one of kept.splice(0)) write(one.offset, one.data, () => {})
      read(offset, size, callback)
    }) as typeof file.read
    return file
  })
  await replicate()
  t.ok((await copy.getBatch(0, BLOCKS)).every(right(16_384)))
})

test('loans: a hook that keeps what it is shown', async (t) => {
  const kept = new Map<number, Buffer>()
  const { replicate } = await pair(t, 16_384, undefined, {
    onwrite(index: number, bytes: Buffer, _peer: unknown, callback: () => void) {
      kept.set(index, bytes)
      callback()
    }
  })
  await replicate()
  t.ok([...kept].every(([index, bytes]) => right(16_384)(bytes, index)))
  t.equal(kept.size, BLOCKS)
})

test('loans: memory goes back when the last one has said so, and never if somebody keeps it', (t) => {
  const loan = borrow(10_000)!
  loan.lend()
  loan.release()
  const other = borrow(10_000)!
  t.notEqual(other.bytes, loan.bytes, 'one still refers to it')
  loan.release()
  const again = borrow(10_000)!
  t.equal(again.bytes, loan.bytes, 'nobody does')
  again.keep()
  again.release()
  t.notEqual(borrow(10_000)!.bytes, again.bytes, 'kept')
  t.equal(borrow(100), null, 'small memory comes from elsewhere')
  t.equal(borrow(1_000_000), null, 'so does large memory')
  t.end()
})
