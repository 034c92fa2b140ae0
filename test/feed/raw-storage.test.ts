/** `feed._storage`, the file access that modules and the original's tests reach for (spec API §3). */
import test from 'tape'
import ddatabase, { type TreeNode } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published } from '../helpers/published.ts'
import { within } from '../helpers/watchdog.ts'
import { feedOf, memory } from './feeds.ts'

const VALUES = ['a', 'bc', 'def']
type Raw = Record<string, (...args: unknown[]) => void>

/** What a method of a `_storage` gives its callback; errors as their message. */
function ask(storage: unknown, name: string, ...args: unknown[]): Promise<unknown[]> {
  return within(
    new Promise((resolve) => {
      ;(storage as Raw)[name]!(...args, (error: Error | null, ...values: unknown[]) =>
        resolve(error ? [error.message] : values)
      )
    }),
    name
  )
}

const shown = (values: unknown[]) =>
  values.map((value) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    const node = value as TreeNode
    return typeof value === 'object' && value !== null && 'hash' in value
      ? [node.index, node.size, Buffer.from(node.hash).toString('hex')]
      : value
  })

test('raw storage: reads, as the original', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>(VALUES, {}, files)
  const original = published(files.clone().factory())
  await original.ready()
  const calls: [name: string, ...args: unknown[]][] = [
    ['getNode', 0],
    ['getNode', 1],
    ['getNode', 4],
    ['getData', 0],
    ['getData', 2],
    ['getSignature', 2],
    ['getSignature', 0],
    ['dataOffset', 0, []],
    ['dataOffset', 1, []],
    ['dataOffset', 2, []],
    ['getNode', 3]
  ]
  for (const [name, ...args] of calls) {
    const theirs = shown(await ask(original.feed._storage, name, ...args))
    t.deepEqual(
      shown(await ask(feed._storage, name, ...args)),
      theirs,
      `${name}(${args[0]}): ${JSON.stringify(theirs).slice(0, 60)}`
    )
  }
  t.deepEqual(await ask(feed._storage, 'dataOffset', 2, []), [3, 3])
  await original.close()
  await feed.close()
})

test('raw storage: writes', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf<unknown>(VALUES, {}, files)
  const node = { index: 0, size: 1, hash: Buffer.alloc(32, 9) }
  await ask(feed._storage, 'getNode', 0)
  t.deepEqual(await ask(feed._storage, 'putNode', 0, node), [])
  t.deepEqual(shown(await ask(feed._storage, 'getNode', 0)), shown([node]))
  await ask(feed._storage, 'putData', 1, Buffer.from('xy'), [])
  t.equal(String(files.read('data')), 'axydef')
  t.deepEqual(await ask(feed._storage, 'putData', 1, Buffer.from('too long'), []), ['Unexpected data size'])
  const signature = Buffer.alloc(64, 7)
  await ask(feed._storage, 'putSignature', 0, signature)
  t.deepEqual(shown(await ask(feed._storage, 'getSignature', 0)), shown([signature]))
  t.deepEqual({ ...(await feed.audit()) }, { valid: 1, invalid: 2 }, 'what was written is what is there')
  await feed.close()
})

test('raw storage: the storages', async (t) => {
  const feed = ddatabase<unknown>(memory())
  const names = ['key', 'secretKey', 'tree', 'data', 'bitfield', 'signatures'] as const
  for (const name of names) t.equal(feed._storage[name], null, `${name} before opening`)
  await feed.append(VALUES)
  for (const name of names) t.equal(typeof feed._storage[name]!.read, 'function', name)
  await within(
    new Promise((resolve) => feed._storage.data!.write(1, Buffer.from('xy'), resolve as () => void)),
    'data.write'
  )
  t.equal(String(await feed.get(1)), 'xy', 'beside the feed')
  await feed.close()
})

test('raw storage: before opening', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf<unknown>(VALUES, {}, files)).close()
  const feed = ddatabase<unknown>(memory(files))
  t.deepEqual(shown(await ask(feed._storage, 'getData', 1)), [Buffer.from('bc').toString('hex')], 'waits')
  const [state] = (await ask(feed._storage, 'open', { key: feed.key })) as [Record<string, unknown>]
  t.deepEqual(state.key, feed.key)
  t.deepEqual(state.secretKey, feed.secretKey)
  t.equal(state.bitfieldPageSize, 3584)
  t.equal((state.bitfield as unknown[]).length, 1)
  await feed.close()
})
