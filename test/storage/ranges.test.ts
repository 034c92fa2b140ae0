/** A set of numbers as ranges. */
import test from 'tape'
import { Ranges } from '../../src/util/ranges.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

test('ranges: as a set of numbers', (t) => {
  const random = new SeededRandom(11)
  for (let round = 0; round < 100; round++) {
    const ranges = new Ranges()
    const numbers = new Set<number>()
    const some = (): [number, number] => {
      const start = random.below(60)
      return [start, start + 1 + random.below(random.chance(0.2) ? 30 : 3)]
    }
    for (let i = 0; i < 15; i++) {
      const [start, end] = some()
      ranges.add([start, end])
      for (let number = start; number < end; number++) numbers.add(number)
      const [from, to] = some()
      const asked = Array.from({ length: to - from }, (_, at) => numbers.has(from + at))
      const answers = [ranges.has(from), ranges.overlaps(from, to), ranges.covers([from, to])]
      const expected = [asked[0], asked.includes(true), !asked.includes(false)]
      if (answers.join() !== expected.join()) t.fail(`round ${round}: ${from} … ${to}: ${answers}`)
      const listed = ranges.ranges.flatMap(([a, b]) => Array.from({ length: b - a }, (_, at) => a + at))
      if (listed.join() !== [...numbers].sort((a, b) => a - b).join()) t.fail(`round ${round}: ${listed}`)
      const apart = ranges.ranges.every(([a, b], at) => a < b && b < (ranges.ranges[at + 1]?.[0] ?? 1000))
      if (!apart) t.fail(`round ${round}: neighbours are two ranges`)
    }
  }
  t.pass('in all rounds')
  t.end()
})
