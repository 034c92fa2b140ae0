/** Pages with few bits are packed when there are many, and nobody notices. */
import b4a from 'b4a'
import test from 'tape'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const PAGES = 100

/** What is really in the pages, as text. */
const digest = (bytes: Uint8Array | null): string => b4a.toString(bytes ?? b4a.alloc(PAGE_SIZE), 'hex')

for (const most of [0, 1, 5, 40]) {
  test(`packed pages: against plain ones, at most ${most} unpacked`, (t) => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = new SeededRandom(seed)
      const file = b4a.alloc(PAGES * PAGE_SIZE)
      // Pages that are empty, with some bits, equal to the one before, or full of anything.
      for (let page = 0; page < PAGES; page++) {
        const part = file.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)
        const kind = random.below(5)
        if (kind === 1 || kind === 2) {
          for (let i = random.below(200); i >= 0; i--) part[random.below(PAGE_SIZE)] = random.below(256)
        } else if (kind === 3 && page > 0) part.set(file.subarray((page - 1) * PAGE_SIZE, page * PAGE_SIZE))
        else if (kind === 4) part.set(random.bytes(PAGE_SIZE))
      }
      const plain = Array.from({ length: PAGES }, (_, page) =>
        b4a.from(file.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE))
      )
      const pages = new Pages(PAGE_SIZE, file, most)
      const dirty = new Set<number>()
      for (let step = 0; step < 1_500; step++) {
        const page = random.below(PAGES)
        const what = random.next()
        if (what < 0.5) {
          if (digest(pages.read(page)) !== digest(plain[page]!)) return fail(seed, step, page)
        } else if (what < 0.8) {
          for (let i = random.below(3); i >= 0; i--) {
            const [at, value] = [random.below(PAGE_SIZE), random.chance(0.7) ? 0 : random.below(256)]
            pages.write(page)[at] = value
            plain[page]![at] = value
          }
          dirty.add(page)
        } else if (what < 0.9) {
          // A stage of some pages, that is adopted or not; others are read meanwhile.
          const stage = pages.stage()
          const adopted = random.chance(0.7)
          for (let i = random.below(6); i >= 0; i--) {
            const [staged, at] = [random.below(PAGES), random.below(1024)]
            stage.write(staged, at, at + 1)[at] = i + 1
            if (adopted) {
              plain[staged]![at] = i + 1
              dirty.delete(staged)
            }
            pages.read(random.below(PAGES))
          }
          if (adopted) pages.adopt(stage)
        } else {
          const taken = pages.takeDirty()
          if (taken.join() !== [...dirty].sort((a, b) => a - b).join()) return fail(seed, step, -1)
          dirty.clear()
          if (random.chance(0.3)) {
            pages.putBack(taken)
            for (const back of taken) dirty.add(back)
          }
        }
      }
      for (let page = 0; page < PAGES; page++) {
        if (digest(pages.read(page)) !== digest(plain[page]!)) return fail(seed, -1, page)
      }
      t.pass(`seed ${seed}`)
    }
    t.end()

    function fail(seed: number, step: number, page: number): void {
      t.fail(`seed ${seed}, step ${step}, page ${page}`)
      t.end()
    }
  })
}

test('packed pages: many pages with a bit each take little memory', (t) => {
  globalThis.gc?.()
  const pages = new Pages(PAGE_SIZE)
  const before = process.memoryUsage()
  const count = 50_000
  for (let page = 0; page < count; page++) {
    pages.write(page * 1_000)[page % PAGE_SIZE] = 1
    if (page % 100 === 0) pages.takeDirty()
  }
  const after = process.memoryUsage()
  const taken = after.arrayBuffers - before.arrayBuffers
  t.ok(taken < (count * PAGE_SIZE) / 2, `${taken} bytes of pages instead of ${count * PAGE_SIZE}`)
  let wrong = 0
  for (let page = 0; page < count; page += 7) {
    if (pages.read(page * 1_000)![page % PAGE_SIZE] !== 1) wrong++
  }
  t.equal(wrong, 0)
  t.end()
})
