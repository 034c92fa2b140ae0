/** Forks that happen, or are found, while peers are connected. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import { temporaryFolder } from '../helpers/folders.ts'
import { complete, connect, texts, until } from '../helpers/replication-feeds.ts'
import { OURS, replicating } from '../helpers/replication-subjects.ts'
import {
  Author,
  branch,
  checkIs,
  checkProof,
  fetched,
  forksOf,
  insist,
  meet,
  PAIRS,
  quiet
} from './branches.ts'

const COMMON = branch('both', 0, 4)

for (const { name, ours, holder } of PAIRS) {
  test(`forks: two devices write on while a copy is connected to both, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(COMMON)
    const second = await author.stubbornDevice(COMMON)
    const copy = await author.replica()
    const forks = forksOf(copy)
    const honest = meet(copy, first)
    const other = meet(copy, second)
    await complete(copy, 4)
    await first.append('a 4')
    await complete(copy, 5)
    await insist(second, ['b 4'])
    t.equal(await other.end, 'ERR_FORK', 'the one that the copy does not follow is left')
    t.equal(forks.length, 1)
    checkProof(t, forks[0], author.key, 5, 5)
    await first.append('a 5')
    await complete(copy, 6)
    await checkIs(t, copy, [...COMMON, 'a 4', 'a 5'])
    await honest.cut()
    await author.close()
  })

  test(`forks: a copy that has fetched from a device meets what it writes later, at ${name}`, async (t) => {
    const author = new Author(t, ours, holder)
    const first = await author.device(COMMON)
    const second = await author.stubbornDevice(COMMON)
    const copy = await author.replica()
    const forks = forksOf(copy)
    // What the other side was told then, that much is here, it leaves out from now on.
    const other = meet(copy, second)
    await complete(copy, 4)
    const honest = meet(copy, first)
    await first.append(branch('a', 4, 3))
    await complete(copy, 7)
    await insist(second, branch('b', 4, 5))
    const code = await other.end
    t.ok(code === 'ERR_FORK' || code === 'ERR_PROOF_SIGNATURE', String(code))
    await checkIs(t, copy, [...COMMON, ...branch('a', 4, 3)])
    t.equal(await meet(copy, second).end, 'ERR_FORK', 'at the latest when they meet again')
    t.equal(forks.length, 1)
    checkProof(t, forks[0], author.key, 7, 9)
    await honest.cut()
    await author.close()
  })

  test(`forks: nothing of a longer branch is stored, in whatever order it is asked for, at ${name}`, async (t) => {
    for (const length of [1, 2, 3, 4, 5, 7, 8, 12]) {
      const author = new Author(t, ours, holder)
      const a = branch('a', 0, length)
      const first = await author.device(a)
      const second = await author.otherDevice([...a.slice(0, -1), 'b'], branch('b', length, 60))
      const copy = await author.replica({ sparse: true })
      const honest = meet(copy, first)
      await copy.get(length - 1)
      await honest.cut()
      const wanted = Promise.allSettled([15, 20, 40, 41, 59].map((block) => copy.get(block)))
      t.equal(await meet(copy, second).end, 'ERR_FORK', `${length} blocks`)
      t.equal(copy.length, length)
      t.equal(copy.downloaded(), 1)
      await author.close()
      await wanted
    }
  })

  test(`forks: an honest peer is believed what it adds anywhere, at ${name}`, async (t) => {
    for (const length of [1, 2, 3, 5, 6, 8, 11]) {
      const author = new Author(t, ours, holder)
      const all = texts(40)
      const first = await author.otherDevice(all.slice(0, length))
      const copy = await author.replica({ sparse: true })
      const forks = forksOf(copy)
      const before = meet(copy, first)
      await copy.get(0)
      await before.cut()
      await first.append(all.slice(length))
      const connection = meet(copy, first)
      t.equal(String(await copy.get(33)), 'block 33', `${length} blocks, then one far away`)
      t.equal(copy.length, 40)
      t.equal(String(await copy.get(7)), 'block 7')
      await first.append(texts(30, 40))
      await until(() => replicating(copy).remoteLength === 70, 'the news')
      t.equal(String(await copy.get(66)), 'block 66', 'and again on the same connection')
      t.equal(forks.length, 0)
      t.deepEqual({ ...(await copy.audit()) }, { valid: copy.downloaded(), invalid: 0 })
      await connection.cut()
      await author.close()
    }
  })
}

test('forks: a sparse peer that has nothing to compare is believed', async (t) => {
  const author = new Author(t, OURS)
  const writer = await author.device(texts(5))
  const copy = await author.replica({ sparse: true })
  const before = meet(copy, writer)
  await copy.get(4)
  await before.cut()
  await writer.append(texts(35, 5))
  const other = await author.replica({ sparse: true })
  const fetching = meet(other, writer)
  await other.get(30)
  await fetching.cut()
  const connection = meet(copy, other)
  t.equal(String(await copy.get(30)), 'block 30')
  await connection.cut()
  await author.close()
})

test('forks: where only the frames of the published packages are wanted, nothing is stored either', async (t) => {
  const author = new Author(t, OURS)
  const first = await author.device(COMMON, branch('a', 4, 3))
  const second = await author.device(COMMON, branch('b', 4, 9))
  const copy = await author.replica()
  await fetched(first, copy)
  const connection = connect(copy, second, { live: true, authenticated: false })
  const [error] = await connection.ends
  // Whether it can be told from a false signature depends on what came first.
  t.ok(error?.code === 'ERR_FORK' || error?.code === 'ERR_PROOF_SIGNATURE', String(error?.code))
  await checkIs(t, copy, [...COMMON, ...branch('a', 4, 3)])
  await author.close()
})

test('forks: damage here is no fork, and honest peers are not refused for it', async (t) => {
  const author = new Author(t, OURS)
  const writer = await author.device(texts(8))
  const folder = await temporaryFolder(t)
  const first = OURS.open(folder, author.key)
  await first.ready()
  await fetched(writer, first)
  await first.close()
  const file = path.join(folder, 'tree')
  for (const treeIndex of [12, 13, 11]) {
    const tree = await readFile(file)
    const at = 32 + 40 * treeIndex
    tree[at] = tree[at]! ^ 1
    await writeFile(file, tree)
    const copy = OURS.open(folder, author.key)
    await copy.ready()
    const forks = forksOf(copy)
    const connection = meet(copy, writer)
    await until(() => replicating(copy).remoteLength === 8, 'the Have')
    await quiet()
    t.notOk(connection.a.destroying, `node ${treeIndex}`)
    t.deepEqual(forks, [])
    await connection.cut()
    await copy.close()
  }
  await author.close()
})

test('forks: peers that have the same are left in peace', async (t) => {
  const author = new Author(t, OURS)
  const writer = await author.device(texts(20))
  const copies = [await author.replica(), await author.replica(), await author.replica({ sparse: true })]
  const connections = []
  const forks = [writer, ...copies].map(forksOf)
  for (const [i, copy] of copies.entries()) {
    connections.push(meet(copy, writer))
    for (const other of copies.slice(0, i)) connections.push(meet(copy, other))
  }
  for (let i = 20; i < 40; i++) await writer.append(`block ${i}`)
  await complete(copies[0]!, 40)
  await complete(copies[1]!, 40)
  await quiet()
  t.deepEqual(forks, [[], [], [], []])
  t.notOk(connections.some(({ a, b }) => a.destroying || b.destroying))
  for (const { cut } of connections) await cut()
  await author.close()
})
