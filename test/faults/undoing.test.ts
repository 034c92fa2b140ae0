/** A file that takes nothing any more while the others do: a rejected append is undone as far as that goes, which is far enough. */
import test from 'tape'
import ddatabase, { type Storage } from '../../src/index.ts'
import type { OperationHook } from '../helpers/memory-files.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { rejection } from '../helpers/watchdog.ts'

const FAILING = ['bitfield', 'signatures', 'tree', 'data']
const EIO = Object.assign(new Error('EIO'), { code: 'EIO' })
const BATCHES = { 'a block': ['new'], 'a batch': ['n', 'e', 'w', '!', '?'] }

for (const file of FAILING) {
  for (const [what, batch] of Object.entries(BATCHES)) {
    for (const durability of ['process', 'disk'] as const) {
      for (const from of ['write', 'sync']) {
        test(`undoing: ${what}, from the first ${from} of ${file} on, durability ${durability}`, async (t) => {
          const files = new MemoryFiles()
          let failing = false
          let begun = false
          const fails = (name: string, operation: string): boolean => {
            if (!failing || name !== file) return false
            begun ||= operation === from
            return begun
          }
          const make = files.factory({
            before: (name, operation) =>
              operation === 'write' && fails(name, operation) ? { error: EIO, done: 'nothing' } : undefined
          })
          const storage = (name: string) =>
            Object.assign(make(name), {
              sync: (callback: (error: Error | null) => void) =>
                setImmediate(callback, fails(name, 'sync') ? EIO : null)
            })
          const feed = ddatabase(storage as unknown as Storage, { durability })
          await feed.append(['a', 'b', 'c'])
          failing = true
          const error = await feed.append(batch).then(
            () => null,
            (reason) => reason
          )
          if (from === 'write') t.equal(error?.code, 'ERR_STORAGE')
          const length = error === null ? 3 + batch.length : 3
          t.equal(feed.length, length)
          failing = false
          await feed.close().catch(() => {})
          const again = ddatabase(files.factory() as unknown as Storage)
          await again.ready()
          // A signature that could not be taken back holds.
          const signed = file === 'signatures' && from === 'sync' && durability === 'disk'
          const stored = signed ? 3 + batch.length : length
          t.equal(again.length, stored, 'opened anew')
          t.equal(await again.append('next'), stored, 'and goes on')
          t.equal((await again.audit()).invalid, 0)
          await again.close()
        })
      }
    }
  }
}

test('undoing: errors of the storage have a code wherever they come from', async (t) => {
  const files = new MemoryFiles()
  const author = ddatabase(files.factory() as unknown as Storage)
  await author.append(Array.from({ length: 100 }, (_, i) => `block ${i}`))
  await author.close()
  for (let good = 0; good < 10; good++) {
    let left = Number.POSITIVE_INFINITY
    const hook: OperationHook = {
      before(name, operation) {
        if (name !== 'tree' || operation !== 'read' || left-- > 0) return undefined
        return { error: EIO, done: 'nothing' }
      }
    }
    const feed = ddatabase(files.factory(hook) as unknown as Storage, { storageCacheSize: 0 })
    await feed.ready()
    left = good
    const outcome = await feed.get(77).then(
      () => null,
      (error) => error
    )
    if (outcome !== null) t.equal(outcome.code, 'ERR_STORAGE', `after ${good} reads`)
    left = 0
    t.equal((await rejection(feed.proof(20), 'proof')).code, 'ERR_STORAGE', 'proof')
    await feed.close()
  }
})

test('undoing: what was written of a rejected append does not go on filling the disk', async (t) => {
  for (const size of [10, 200_000]) {
    const files = new MemoryFiles()
    let full = false
    const before: OperationHook['before'] = (name, operation) =>
      full && name === 'tree' && operation === 'write' ? { error: EIO, done: 'half' } : undefined
    const feed = ddatabase(files.factory({ before }) as unknown as Storage)
    await feed.append(['a', 'b', 'c'])
    full = true
    const error = await rejection(feed.append([Buffer.alloc(size), Buffer.alloc(size)]), 'append')
    t.equal(error.code, 'ERR_STORAGE')
    t.equal(files.read('data')!.byteLength, 3, `two blocks of ${size} bytes`)
    full = false
    t.equal(await feed.append('d'), 3, 'and it goes on')
    t.deepEqual((await feed.getBatch(0, 4)).map(String), ['a', 'b', 'c', 'd'])
    await feed.close()
  }
})
