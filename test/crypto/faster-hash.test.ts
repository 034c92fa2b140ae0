/** Which of two hash functions is taken, and that it is always one of them. */
import { createHash } from 'node:crypto'
import sodium from 'sodium-native'
import test from 'tape'
import { FasterHash, type HashFunction } from '../../src/crypto/faster-hash.ts'
import { loadWasmBlake2b, wasmMayBeFaster } from '../../src/crypto/wasm-blake2b.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const KIB = 1024
const MIB = 1024 * KIB
const block = Buffer.alloc(64 * KIB)
const out = Buffer.alloc(32)

/** Two functions whose time is told, in ms for a block, and a comparison of them. */
class Race {
  calls = { first: 0, second: 0, loads: 0, asked: 0 }
  readonly hasher: FasterHash
  private time = 0

  constructor(first: () => number, second: (() => number) | null, worthLoading = true) {
    const spending =
      (which: 'first' | 'second', time: () => number): HashFunction =>
      (target, inputs) => {
        this.calls[which]++
        this.time += time()
        target.fill(inputs[0]![0]!)
      }
    const load = async () => {
      this.calls.loads++
      if (second === null) throw new Error('There is no WebAssembly')
      return spending('second', second)
    }
    const ask = () => {
      this.calls.asked++
      return worthLoading
    }
    this.hasher = new FasterHash(spending('first', first), load, ask, () => this.time)
  }

  /** Hashes so many bytes, in blocks. */
  hash(bytes: number, input = block): void {
    for (let hashed = 0; hashed < bytes; hashed += input.byteLength) {
      out.fill(9)
      this.hasher.hash(out, [input])
      if (out[0] !== 0) throw new Error('nobody hashed')
    }
  }

  /** Long enough for every decision. */
  async run(): Promise<'first' | 'second' | null> {
    this.hash(8 * MIB)
    await new Promise((resolve) => setImmediate(resolve))
    this.hash(4 * MIB)
    return this.hasher.choice
  }
}

test('faster hash: the second is taken if it is faster, after a trial of both', async (t) => {
  const race = new Race(
    () => 2,
    () => 1
  )
  t.equal(await race.run(), 'second')
  const { first } = race.calls
  t.equal(first, (8 * MIB + MIB) / block.byteLength, 'the first before the trial, and for its part of it')
  race.hash(MIB)
  t.equal(race.calls.first, first, 'and not afterwards')
})

test('faster hash: the first stays if the other is slower, or hardly faster', async (t) => {
  t.equal(
    await new Race(
      () => 1,
      () => 1.5
    ).run(),
    'first'
  )
  t.equal(
    await new Race(
      () => 1,
      () => 0.95
    ).run(),
    'first'
  )
})

test('faster hash: what holds up single hashes decides nothing', async (t) => {
  // The first calls are slow until the function is compiled, others where something else takes the processor.
  let calls = 0
  const second = () => (++calls <= 4 || calls % 3 === 0 ? 20 : 1)
  t.equal(await new Race(() => 2, second).run(), 'second')
})

test('faster hash: where the second cannot be loaded, the first is taken', async (t) => {
  const race = new Race(() => 1, null)
  t.equal(await race.run(), 'first')
  t.deepEqual(
    race.calls,
    { first: (12 * MIB) / block.byteLength, second: 0, loads: 1, asked: 1 },
    'it is tried once'
  )
})

test('faster hash: what is not worth loading is not loaded', async (t) => {
  const race = new Race(
    () => 2,
    () => 1,
    false
  )
  t.equal(await race.run(), 'first')
  t.deepEqual(race.calls, { first: (12 * MIB) / block.byteLength, second: 0, loads: 0, asked: 1 })
})

test('faster hash: nothing is loaded for little, or for small inputs', async (t) => {
  const race = new Race(
    () => 2,
    () => 1
  )
  race.hash(7 * MIB)
  race.hash(9 * MIB, Buffer.alloc(4 * KIB - 1))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(race.calls.loads, 0)
  t.equal(race.hasher.choice, null)
  race.hash(MIB)
  t.equal(race.calls.loads, 1)
})

test('faster hash: until the second is loaded, the first hashes', (t) => {
  const race = new Race(
    () => 2,
    () => 1
  )
  race.hash(64 * MIB)
  t.deepEqual(race.calls, { first: (64 * MIB) / block.byteLength, second: 0, loads: 1, asked: 1 })
  t.end()
})

test('faster hash: WebAssembly may be faster than what takes longer than OpenSSL, and only then', (t) => {
  const openssl: HashFunction = (_, [input]) => void createHash('blake2b512').update(input!).digest()
  t.equal(
    wasmMayBeFaster(() => {}),
    false
  )
  t.equal(
    wasmMayBeFaster((target, inputs) => {
      for (let i = 0; i < 3; i++) openssl(target, inputs)
    }),
    true
  )
  t.equal(
    wasmMayBeFaster(() => {
      throw new Error('Digest method not supported')
    }),
    true,
    'and where OpenSSL does not have it, nobody can know'
  )
  t.end()
})

test('faster hash: WebAssembly gives the same hashes as libsodium', async (t) => {
  const random = new SeededRandom(11)
  const wasm = await loadWasmBlake2b()
  const hashes = [Buffer.alloc(32), Buffer.alloc(32)] as const
  for (const size of [0, 1, 127, 128, 129, 2049, 4096, 16_384, 16_385, 65_536, 1_000_003]) {
    const inputs = [random.bytes(random.below(200)), random.bytes(size)]
    wasm(hashes[0], inputs)
    sodium.crypto_generichash_batch(hashes[1], inputs)
    t.ok(hashes[0].equals(hashes[1]), `${size} bytes`)
  }
})
