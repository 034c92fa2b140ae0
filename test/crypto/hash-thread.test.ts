/** The second thread that hashes: equal hashes whether it helps or not, and nothing that depends on it. */
import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test, { type Test } from 'tape'
import { blake2bBatch } from '../../src/crypto/backend.ts'
import { leafHash, leafHashesInto, leafHashInto, offerLeaf } from '../../src/crypto/hash.ts'
import { crowding, type Implementation, offerToThread } from '../../src/crypto/hash-thread.ts'
import { LeafOffers } from '../../src/crypto/leaf-offers.ts'
import { MOST_INPUTS, type Offer, type Prefix, SMALLEST_OFFER } from '../../src/crypto/offer.ts'
import { HASH_SIZE } from '../../src/merkle/node.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'

const MIB = 1024 * 1024

// Whatever else this machine does.
Object.defineProperty(crowding, 'crowded', { get: () => false })
const random = new SeededRandom(7)
const someBytes = random.bytes(2 * MIB)
const prefix = Buffer.from('prefix')
const inFront: Prefix = { size: prefix.byteLength, write: (target, offset) => target.set(prefix, offset) }

/** So many bytes of `someBytes`, at any place of a word. */
function bytes(size: number): Uint8Array {
  const from = random.below(MIB)
  return someBytes.subarray(from, from + size)
}

function expected(input: Uint8Array): string {
  const hash = Buffer.alloc(32)
  blake2bBatch(hash, [prefix, input])
  return hash.toString('hex')
}

function offerOne(input: Uint8Array, implementation: Implementation | null): Offer | null {
  return offerToThread(inFront, [input], 0, 1, implementation)
}

/** Offers an input until the thread has hashed it; `change` is called after each offer. */
async function hashedByThread(
  input: Uint8Array,
  change: () => void = () => {},
  implementation: Implementation = 'native'
): Promise<[Offer, string]> {
  const looking = (async (): Promise<[Offer, string]> => {
    const original = Uint8Array.from(input)
    for (let refused = 0; ; ) {
      input.set(original)
      const made = offerOne(input, implementation)
      change()
      // Before there is a thread it takes some megabytes of offers; a thread that gets no processor just now takes none.
      if (made === null && ++refused % 1000 !== 0) continue
      await new Promise((resolve) => setTimeout(resolve, 5))
      const result = resultOf(made)
      if (made !== null && result !== null) return [made, result]
    }
  })()
  return within(looking, 'the thread')
}

/** The result of an offer, if the thread had it. */
function resultOf(made: Offer | null): string | null {
  const target = Buffer.alloc(40)
  return made?.into(target, 8, 32) ? target.subarray(8).toString('hex') : null
}

test('hash thread: nobody gets one for little', (t) => {
  t.equal(offerOne(bytes(100), 'native'), null, 'small inputs are not worth it')
  t.equal(offerOne(bytes(64 * 1024), 'native'), null, 'nor are few of them')
  const target = Buffer.alloc(64)
  leafHashesInto(target, 0, 32, [bytes(100), bytes(20_000)])
  t.notOk(target.equals(Buffer.alloc(64)), 'they are hashed all the same')
  t.end()
})

const hasThread = availableParallelism() > 1

test('hash thread: there is one only where there is another processor', (t) => {
  const offers = (implementation: Implementation | null): boolean =>
    Array.from({ length: 64 }, () => offerOne(bytes(MIB), implementation)).some((made) => made !== null)
  t.notOk(offers(null), 'and none before it is known what it should hash with')
  t.equal(offers('native'), hasThread)
  t.end()
})

/** What is about a thread, where there can be one. */
function testThread(name: string, run: (t: Test) => Promise<void>): void {
  if (hasThread) test(name, run)
}

for (const implementation of ['wasm', 'native'] as const) {
  testThread(
    `hash thread, ${implementation}: its hashes are the same, whatever the size and place of the input`,
    async (t) => {
      for (const size of [8 * 1024, 8 * 1024 + 1, 10_007, 65_536, 65_543, 300_001, MIB - 1, MIB]) {
        for (let i = 0; i < 5; i++) {
          const input = bytes(size)
          const [, result] = await hashedByThread(input, () => {}, implementation)
          if (result !== expected(input)) t.fail(`wrong hash of ${size} bytes at ${input.byteOffset}`)
        }
        t.pass(`${size} bytes`)
      }
    }
  )
}

testThread('hash thread: many at a time, taken at any time', async (t) => {
  await hashedByThread(bytes(10_000))
  let byThread = 0
  for (let i = 0; i < 50 || (byThread === 0 && i < 5000); i++) {
    const inputs = Array.from({ length: 20 }, () => bytes(8 * 1024 + random.below(60_000)))
    const offers = inputs.map((input) => offerOne(input, 'native'))
    if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, random.below(4)))
    for (const [at, made] of offers.entries()) {
      const result = resultOf(made)
      if (result !== null) byThread++
      if (result !== null && result !== expected(inputs[at]!)) t.fail(`wrong hash in round ${i}`)
    }
  }
  t.ok(byThread > 0, 'some of them by the thread')
})

testThread('hash thread: some small ones at a time', async (t) => {
  await hashedByThread(bytes(10_000))
  for (const implementation of ['wasm', 'native'] as const) {
    let byThread = 0
    for (let i = 0; i < 40 || (byThread === 0 && i < 2000); i++) {
      const inputs = Array.from({ length: 1 + random.below(MOST_INPUTS + 4) }, () =>
        bytes(random.below(1_500))
      )
      const from = random.below(Math.min(4, inputs.length))
      const made = offerToThread(inFront, inputs, from, inputs.length, implementation)
      if (made !== null && inputs.length - from > MOST_INPUTS) t.fail('too many')
      await new Promise((resolve) => setTimeout(resolve, 2))
      const stride = 32 + random.below(50)
      const target = Buffer.alloc(3 + (inputs.length - from) * stride)
      if (!made?.into(target, 3, stride)) continue
      byThread++
      const wrong = inputs.findIndex((input, at) => {
        const start = 3 + (at - from) * stride
        return at >= from && target.toString('hex', start, start + 32) !== expected(input)
      })
      if (wrong !== -1) t.fail(`input ${wrong} of ${inputs.length}`)
      if (target.subarray(0, 3).some(Boolean)) t.fail('nothing in front of the first place')
    }
    t.ok(byThread > 0, `${implementation}: some of them by the thread`)
  }
})

testThread('hash thread: the largest inputs stay within their places', async (t) => {
  await hashedByThread(bytes(10_000))
  let byThread = 0
  for (let round = 0; round < 16 || (byThread === 0 && round < 1000); round++) {
    // More than there are places.
    const inputs = Array.from({ length: 20 }, (_, i) =>
      someBytes.subarray(round % 8, (round % 8) + MIB - 32 + 4 * round + i)
    )
    const offers = inputs.map((input) => offerOne(input, 'native'))
    for (const [at, made] of offers.entries()) {
      if (made !== null && inputs[at]!.byteLength > MIB) t.fail('too large to be taken')
      for (let waits = 0; made !== null && !made.begun && waits < 20; waits++) {
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      const result = resultOf(made)
      if (result !== null) byThread++
      if (result !== null && result !== expected(inputs[at]!)) t.fail(`${inputs[at]!.byteLength} bytes`)
    }
  }
  t.ok(byThread > 0, 'some of them by the thread')
})

testThread('hash thread: a result is given once', async (t) => {
  const input = bytes(20_000)
  const [made, result] = await hashedByThread(input)
  t.equal(result, expected(input))
  t.equal(resultOf(made), null)
})

testThread('hash thread: the input may change after it was offered', async (t) => {
  const input = Buffer.from(bytes(50_000))
  const hash = expected(input)
  const [, result] = await hashedByThread(input, () => input.fill(0))
  t.equal(result, hash)
})

testThread('hash thread: what nobody asks for any more takes no place', async (t) => {
  for (let i = 0; i < 10; i++) {
    for (let j = 0; j < 20; j++) offerOne(bytes(9_000), 'native')
    const input = bytes(9_000)
    const [, result] = await hashedByThread(input)
    if (result !== expected(input)) t.fail('wrong hash')
  }
  t.pass('after 200 of them')
})

testThread('hash thread: lists of blocks of all sizes', async (t) => {
  await hashedByThread(bytes(10_000))
  for (let i = 0; i < 60; i++) {
    const blocks = Array.from({ length: i % 3 === 2 ? 900 + random.below(600) : random.below(20) }, () =>
      bytes(random.below([100_000, 12_000, 900][i % 3]!))
    )
    const stride = 32 + 8 * random.below(3)
    const target = Buffer.alloc(5 + blocks.length * stride)
    leafHashesInto(target, 5, stride, blocks)
    const wrong = blocks.findIndex((block, at) => {
      const start = 5 + at * stride
      return !target.subarray(start, start + 32).equals(leafHash(block))
    })
    if (wrong !== -1) t.fail(`block ${wrong} of list ${i}`)
  }
  const block = bytes(70_000)
  const target = Buffer.alloc(32)
  leafHashInto(target, 0, block, offerLeaf(block))
  t.ok(target.equals(leafHash(block)), 'a single block')
})

testThread('hash thread: blocks that come one after the other', async (t) => {
  await hashedByThread(bytes(10_000))
  const byThread = { small: 0, large: 0 }
  for (let i = 0; i < 60 || (Math.min(byThread.small, byThread.large) === 0 && i < 2000); i++) {
    const leaves = new LeafOffers()
    const blocks = Array.from({ length: random.below(200) }, () =>
      Buffer.from(bytes(random.below(random.below(40) === 0 ? 30_000 : 1_500)))
    )
    const hashes = blocks.map((block) => leafHash(block))
    const offers = blocks.map((block) => leaves.add(block))
    if (random.below(2) === 0) leaves.flush()
    if (random.below(3) > 0) await new Promise((resolve) => setTimeout(resolve, 2))
    for (const [at, block] of blocks.entries()) {
      // One that is dropped is never asked for.
      if (random.below(20) === 0) continue
      const target = Buffer.alloc(40)
      if (!offers[at]?.into(target, 8, HASH_SIZE)) continue
      byThread[block.byteLength < SMALLEST_OFFER ? 'small' : 'large']++
      if (!target.subarray(8).equals(hashes[at]!)) t.fail(`block ${at} of ${blocks.length}`)
    }
  }
  t.ok(byThread.small > 0, 'small ones by the thread')
  t.ok(byThread.large > 0, 'and large ones')
})

testThread('hash thread: small blocks that are asked for at once wait for no others', async (t) => {
  await hashedByThread(bytes(10_000))
  const leaves = new LeafOffers()
  const target = Buffer.alloc(HASH_SIZE)
  for (let i = 0; i < 500; i++) {
    const offer = leaves.add(bytes(1_000))
    if (offer?.into(target, 0, HASH_SIZE)) t.fail('hashed before it was offered')
  }
  t.equal(leaves.count, 0, 'and the thread gets none of them')
})

testThread(
  'hash thread: it ends when nobody needs it, comes again, and keeps no process alive',
  async (t) => {
    const program = fileURLToPath(new URL('./hash-thread-child.ts', import.meta.url))
    const run = promisify(execFile)(process.execPath, ['--import', 'tsx', program], { timeout: 60_000 })
    const { stdout } = await run
    t.equal(stdout, 'a thread, still there, none, a thread\n')
  }
)
