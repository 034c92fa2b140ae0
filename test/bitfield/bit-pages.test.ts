/** Sparse sets of numbers, against the sets of the language. */
import test from 'tape'
import { MemoryBits } from '../../src/merkle/tree-set.ts'
import { BitPages } from '../../src/util/bit-pages.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

test('sets of numbers: random operations, some near each other and some far', (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed)
    const spread = [40, 3_000, 20_000, 60_000][seed % 4]!
    // Far beyond what 32 bits can say, too.
    const base = random.chance(0.3) ? 2 ** 40 + random.below(10_000) : 0
    const any = () => base + random.below(spread)
    const bits = new BitPages()
    const plain = new Set<number>()
    for (let step = 0; step < 600; step++) {
      const what = random.next()
      const start = any()
      const end = start + random.below(random.chance(0.5) ? 4 : spread)
      if (what < 0.35) {
        bits.add(start)
        plain.add(start)
      } else if (what < 0.45) {
        bits.delete(start)
        plain.delete(start)
      } else if (what < 0.55) {
        bits.addRange(start, end)
        for (let at = start; at < end; at++) plain.add(at)
      } else if (what < 0.62) {
        const to = random.chance(0.1) ? Number.POSITIVE_INFINITY : end
        bits.deleteRange(start, to)
        for (const at of plain) if (at >= start && at < to) plain.delete(at)
      } else if (what < 0.8) {
        if (bits.has(start) !== plain.has(start)) return fail(seed, step, `has ${start}`)
      } else {
        let missing = start
        while (missing < end && plain.has(missing)) missing++
        const expected = missing < end ? missing : -1
        if (bits.firstMissing(start, end) !== expected)
          return fail(seed, step, `firstMissing ${start} ${end}`)
      }
    }
    for (let at = base; at < base + spread; at++) {
      if (bits.has(at) !== plain.has(at)) return fail(seed, -1, `has ${at}`)
    }
  }
  t.pass('30 seeds')
  t.end()

  function fail(seed: number, step: number, what: string): void {
    t.fail(`seed ${seed}, step ${step}: ${what}`)
    t.end()
  }
})

test('sets of bits in memory: set tells whether something changed, the length is that of the bytes', (t) => {
  const bits = new MemoryBits()
  t.equal(bits.set(9, false), false)
  t.equal(bits.length, 0)
  t.equal(bits.set(9, true), true)
  t.equal(bits.set(9, true), false)
  t.equal(bits.length, 16)
  t.equal(bits.set(9, false), true)
  t.equal(bits.get(9), false)
  t.equal(bits.length, 16)
  t.end()
})
