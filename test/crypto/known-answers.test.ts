/** Public known answers (test/vectors/public): both backends give exactly these, with WebAssembly and without. */
import test from 'tape'
import * as keys from '../../src/crypto/keys.ts'
import { vector } from '../helpers/folders.ts'
import { BACKENDS, type Backend, browserModules } from './backends.ts'

const hex = (text: string) => Buffer.from(text, 'hex')

/** The bytes 00 01 02 … of the known answers. */
const counting = (size: number) => Buffer.from(Array.from({ length: size }, (_, i) => i))

interface KnownAnswers {
  key: string
  unkeyed: string[]
  keyed: string[]
}

/** `size` bytes of a sequence that the seed begins (RFC 7693, appendix E). */
function sequence(size: number, seed: number): Buffer {
  const out = Buffer.alloc(size)
  let a = Math.imul(0xdead4bad, seed) >>> 0
  let b = 1
  for (let i = 0; i < size; i++) {
    const sum = (a + b) >>> 0
    a = b
    b = sum
    out[i] = sum >>> 24
  }
  return out
}

/** Backends by name; that of browsers also while it has no WebAssembly, in a copy of the module that has not loaded any. */
const STATES: readonly (readonly [string, () => Promise<Backend>])[] = [
  ...BACKENDS.map(
    ([name, backend]) =>
      [
        name,
        async () => {
          await backend.ready()
          return backend
        }
      ] as const
  ),
  [
    'browser, without WebAssembly',
    () => {
      const fresh: string = '../../src/crypto/backend.browser.ts?known-answers'
      return import(fresh) as Promise<Backend>
    }
  ]
]

for (const [name, load] of STATES) {
  test(`known answers of BLAKE2b: ${name}`, async (t) => {
    const backend = await load()
    const { key, unkeyed, keyed } = vector<KnownAnswers>('public/blake2b-kat.json')
    t.deepEqual([unkeyed.length, keyed.length], [256, 256], 'all of them')
    for (const [answers, secret] of [
      [unkeyed, undefined],
      [keyed, hex(key)]
    ] as const) {
      const wrong: number[] = []
      answers.forEach((expected, size) => {
        const input = counting(size)
        const whole = Buffer.alloc(64)
        backend.blake2b(whole, input, secret)
        const parts = Buffer.alloc(64)
        backend.blake2bBatch(parts, [input.subarray(0, size >> 1), input.subarray(size >> 1)], secret)
        if (whole.toString('hex') !== expected || parts.toString('hex') !== expected) wrong.push(size)
      })
      t.deepEqual(wrong, [], `${secret === undefined ? 'without a key' : 'keyed'}: inputs of 0 to 255 bytes`)
    }
  })

  // Hashes of 20, 32, 48 and 64 bytes: those of 32, which feeds consist of, are in no other public answer.
  test(`known answers of BLAKE2b: the self test of RFC 7693, ${name}`, async (t) => {
    const backend = await load()
    const hashes: Buffer[] = []
    for (const size of [20, 32, 48, 64]) {
      for (const inputSize of [0, 3, 128, 129, 255, 1024]) {
        const input = sequence(inputSize, inputSize)
        for (const key of [undefined, sequence(size, size)]) {
          const out = Buffer.alloc(size)
          backend.blake2b(out, input, key)
          hashes.push(out)
        }
      }
    }
    const out = Buffer.alloc(32)
    backend.blake2bBatch(out, hashes)
    t.equal(out.toString('hex'), 'c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475')
  })
}

interface Wycheproof {
  numberOfTests: number
  testGroups: {
    publicKey: { pk: string }
    tests: { tcId: number; msg: string; sig: string; result: 'valid' | 'invalid' | 'acceptable' }[]
  }[]
}

for (const [name, { verify }] of [
  ['libsodium', keys],
  ['browser', browserModules<typeof keys>('crypto/keys.ts')]
] as const) {
  test(`known answers of Ed25519: wycheproof, ${name}`, (t) => {
    const { numberOfTests, testGroups } = vector<Wycheproof>('public/wycheproof-ed25519.json')
    const verdicts = { valid: 0, invalid: 0, acceptable: 0 }
    const wrong: number[] = []
    for (const { publicKey, tests } of testGroups) {
      for (const { tcId, msg, sig, result } of tests) {
        verdicts[result]++
        // Signatures of every size: those that are not 64 bytes long are refused before they get to a backend.
        if (verify(hex(msg), hex(sig), hex(publicKey.pk)) !== (result === 'valid')) wrong.push(tcId)
      }
    }
    t.deepEqual(wrong, [], `equal verdicts: ${JSON.stringify(verdicts)}`)
    t.equal(verdicts.valid + verdicts.invalid, numberOfTests, 'all of them, and none that is left to taste')
    t.end()
  })
}
