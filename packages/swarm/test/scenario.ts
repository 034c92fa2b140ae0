import type { Test } from 'tape'
import { Peers } from './children.ts'
import { makeNetwork } from './helpers.ts'

/**
 * Peers that come and go: the author disappears when the first of them have its feed, the others get it from those; some are
 * killed and come back; the author comes back and goes on.
 *
 * @param count - processes, the author included
 * @param rounds - how often peers are killed and come back
 */
export async function comeAndGo(t: Test, count: number, rounds: number): Promise<void> {
  const BLOCKS = 300
  const peers = await Peers.prepare(t, await makeNetwork(t))
  let author = await peers.start('author', null, BLOCKS)
  const key = await author.open
  const first = Math.ceil((count - 1) / 4)
  const start = (i: number) => peers.start(`peer ${i}`, key)
  const copies = await Promise.all(Array.from({ length: first }, (_, i) => start(i)))
  await Promise.all(copies.map((copy) => copy.has(BLOCKS)))
  t.pass(`${first} peers have it from the author`)

  await author.kill()
  for (let i = first; i < count - 1; i += 7) {
    const group = Array.from({ length: Math.min(7, count - 1 - i) }, (_, j) => start(i + j))
    copies.push(...(await Promise.all(group)))
  }
  await Promise.all(copies.map((copy) => copy.has(BLOCKS)))
  t.equal(copies.length, count - 1, 'the author is gone, and all others have it from each other')

  author = await peers.start('author', null, BLOCKS)
  let length = BLOCKS
  for (let round = 0; round < rounds; round++) {
    const killed = [...copies.keys()].filter((i) => i % 4 === round % 4)
    await Promise.all(killed.map((i) => copies[i]!.kill()))
    author.append(50)
    length += 50
    const back = await Promise.all(killed.map(start))
    for (const [at, i] of killed.entries()) copies[i] = back[at]!
    await Promise.all(copies.map((copy) => copy.has(length)))
    t.pass(`${killed.length} were killed and are back, and all have ${length} blocks`)
  }

  const codes = await Promise.all([author, ...copies].map((peer) => peer.leave()))
  t.deepEqual(new Set(codes), new Set([0]), 'all have left in good order')
  for (const copy of [copies[0]!, copies.at(-1)!]) t.equal(await copy.check(key), length, 'a copy is whole')
}
