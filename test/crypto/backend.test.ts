import { createCipheriv, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'
import test from 'tape'
import { DDatabaseError } from '../../src/errors.ts'
import { vector } from '../helpers/folders.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { BACKENDS, type Backend } from './backends.ts'

const [, sodium] = BACKENDS[0]!
const [, browser] = BACKENDS[1]!

const hex = (text: string) => Buffer.from(text, 'hex')

/** What `fill` writes into an array of `size` bytes, as text. */
function written(size: number, fill: (out: Uint8Array) => void): string {
  const out = Buffer.alloc(size)
  fill(out)
  return out.toString('hex')
}

// First of all, while the browsers' backend has no WebAssembly yet; then again with it.
for (const state of ['before', 'after'] as const) {
  test(`crypto backends: equal hashes, ${state} the backend is ready`, async (t) => {
    if (state === 'after') {
      t.equal(sodium.ready(), null, 'nothing to wait for in Node')
      await browser.ready()
      t.equal(browser.ready(), null, 'nothing more to wait for')
    }
    const random = new SeededRandom(1)
    const sizes = [0, 1, 73, 127, 128, 129, 256, 16384, 16385, 65545]
    for (const size of [...sizes, ...Array.from({ length: 50 }, () => random.below(5000))]) {
      const input = random.bytes(size)
      const cut = random.below(size + 1)
      const parts = [input.subarray(0, cut), new Uint8Array(input.subarray(cut))]
      for (const outSize of [32, 64]) {
        const expected = written(outSize, (out) => sodium.blake2b(out, input))
        t.equal(
          written(outSize, (out) => browser.blake2b(out, input)),
          expected,
          `${size} bytes → ${outSize}`
        )
        for (const [name, backend] of BACKENDS) {
          t.equal(
            written(outSize, (out) => backend.blake2bBatch(out, parts)),
            expected,
            `${name}, in parts`
          )
        }
      }
      const key = random.bytes(32)
      const keyed = written(32, (out) => sodium.blake2b(out, input, key))
      for (const [name, backend] of BACKENDS) {
        t.equal(
          written(32, (out) => backend.blake2b(out, input, key)),
          keyed,
          `${name}, keyed`
        )
        t.equal(
          written(32, (out) => backend.blake2bBatch(out, parts, key)),
          keyed,
          `${name}, keyed, in parts`
        )
      }
    }
  })
}

test('crypto backends: hashes of arrays that are views', (t) => {
  const memory = new SeededRandom(2).bytes(3000)
  for (const [name, backend] of BACKENDS) {
    const out = Buffer.alloc(40, 9)
    backend.blake2b(out.subarray(5, 37), memory.subarray(7, 2007))
    const expected = written(32, (whole) => sodium.blake2b(whole, Buffer.from(memory.subarray(7, 2007))))
    t.equal(out.toString('hex'), `0909090909${expected}090909`, name)
  }
  t.end()
})

test('crypto backends: without WebAssembly hashing is slower, that is all', async (t) => {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')!
  // A copy of the module that has not loaded anything yet.
  const fresh: string = '../../src/crypto/backend.browser.ts?without-webassembly'
  const backend = (await import(fresh)) as Backend
  t.notEqual(backend, browser)
  Reflect.deleteProperty(globalThis, 'WebAssembly')
  try {
    await backend.ready()
  } finally {
    Object.defineProperty(globalThis, 'WebAssembly', own)
  }
  t.notEqual(backend.ready(), null, 'it did not get any')
  const input = new SeededRandom(3).bytes(1000)
  t.equal(
    written(32, (out) => backend.blake2b(out, input)),
    written(32, (out) => sodium.blake2b(out, input))
  )
})

interface CryptoVectors {
  keyPair: { seed: string; publicKey: string; secretKey: string }
  noiseKeyPairsFromSeed: { seed: string; publicKey: string; secretKey: string }[]
  letters: { signable: string; signature: string }[]
}

test('crypto backends: recorded keys and signatures', (t) => {
  const { keyPair, letters, noiseKeyPairsFromSeed } = vector<CryptoVectors>('crypto.json')
  for (const [name, backend] of BACKENDS) {
    const publicKey = Buffer.alloc(32)
    const secretKey = Buffer.alloc(64)
    backend.ed25519KeyPair(publicKey, secretKey, hex(keyPair.seed))
    t.equal(publicKey.toString('hex'), keyPair.publicKey, `${name}: public key`)
    t.equal(secretKey.toString('hex'), keyPair.secretKey, 'secret key')
    for (const { signable, signature } of letters) {
      const message = hex(signable)
      t.equal(
        written(64, (out) => backend.ed25519Sign(out, message, secretKey)),
        signature,
        'signature'
      )
      t.ok(backend.ed25519Verify(hex(signature), message, publicKey))
      message[0]! ^= 1
      t.notOk(backend.ed25519Verify(hex(signature), message, publicKey), 'of another message')
    }
    for (const pair of noiseKeyPairsFromSeed) {
      t.equal(
        written(32, (out) => backend.blake2b(out, hex(pair.seed))),
        pair.secretKey,
        'X25519 secret key'
      )
      t.equal(
        written(32, (out) => backend.x25519PublicKey(out, hex(pair.secretKey))),
        pair.publicKey
      )
    }
  }
  t.end()
})

test('crypto backends: new Ed25519 pairs sign for each other', (t) => {
  for (const [name, backend] of BACKENDS) {
    const publicKey = Buffer.alloc(32)
    const secretKey = Buffer.alloc(64)
    backend.ed25519KeyPair(publicKey, secretKey)
    t.ok(secretKey.subarray(32).equals(publicKey), `${name}: seed ‖ public key`)
    const other = Buffer.alloc(32)
    backend.ed25519KeyPair(other, Buffer.alloc(64))
    t.notOk(other.equals(publicKey), 'another one each time')
    const message = Buffer.from('message')
    for (const [signer, { ed25519Sign }] of BACKENDS) {
      const signature = hex(written(64, (out) => ed25519Sign(out, message, secretKey)))
      for (const [verifier, { ed25519Verify }] of BACKENDS) {
        t.ok(ed25519Verify(signature, message, publicKey), `${signer} → ${verifier}`)
      }
    }
  }
  t.end()
})

test('crypto backends: equal verdicts on signatures that only a dishonest writer makes', (t) => {
  const { Point } = ed25519
  const { Fn } = Point
  const random = new SeededRandom(4)
  const scalar = () => Fn.create(BigInt(`0x${random.bytes(40).toString('hex')}`))
  const bytes = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse()
  const number = (from: Uint8Array) => BigInt(`0x${Buffer.from(from).reverse().toString('hex')}`)
  // The eight points of low order are the multiples of one of them.
  const generator = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  const low = [Point.ZERO]
  for (let i = 1; i < 8; i++) low.push(low[i - 1]!.add(generator))
  t.ok(low[7]!.add(generator).is0(), 'eight points')

  const judge = (R: Uint8Array, s: Uint8Array, message: Uint8Array, A: Uint8Array) =>
    BACKENDS.map(([, backend]) => backend.ed25519Verify(Buffer.concat([R, s]), message, A))
  let refused = 0
  for (const extraR of low) {
    for (const extraA of low) {
      const message = random.bytes(40)
      for (const r of [0n, scalar()]) {
        for (const a of [0n, scalar()]) {
          const multiple = (n: bigint) => (n === 0n ? Point.ZERO : Point.BASE.multiply(n))
          const R = multiple(r).add(extraR).toBytes()
          const A = multiple(a).add(extraA).toBytes()
          const k = Fn.create(number(sha512(Buffer.concat([R, A, message]))))
          const s = Fn.add(r, Fn.mul(k, a))
          const [expected, verdict] = judge(R, bytes(s), message, A)
          t.equal(verdict, expected, `r ${r && 'random'}, a ${a && 'random'}: ${expected}`)
          if (!expected) refused++
          t.deepEqual(judge(R, bytes(s + Fn.ORDER), message, A), [false, false], 's above the order')
        }
      }
    }
  }
  t.ok(refused >= 3 * 64, 'those with a key or an R of low order')

  // Coordinates above the field's prime, of which only few can be encoded.
  for (let i = 0; i < 19; i++) {
    const point = bytes(2n ** 255n - 19n + BigInt(i))
    for (const sign of [0, 128]) {
      point[31]! = (point[31]! & 127) | sign
      const [expected, verdict] = judge(point, bytes(0n), Buffer.alloc(1), point)
      t.equal(verdict, expected, `p + ${i}`)
    }
  }
  t.end()
})

/** X25519 by OpenSSL. */
function opensslShared(secretKey: Buffer, publicKey: Buffer): string {
  const half = { kty: 'OKP', crv: 'X25519', x: publicKey.toString('base64url') }
  return diffieHellman({
    privateKey: createPrivateKey({ key: { ...half, d: secretKey.toString('base64url') }, format: 'jwk' }),
    publicKey: createPublicKey({ key: half, format: 'jwk' })
  }).toString('hex')
}

test('crypto backends: X25519', (t) => {
  const random = new SeededRandom(5)
  for (const [name, { x25519, x25519PublicKey }] of BACKENDS) {
    // RFC 7748, section 5.2
    const scalar = hex('a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4')
    const u = hex('e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c')
    const recorded = 'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552'
    t.equal(
      written(32, (out) => x25519(out, scalar, u)),
      recorded,
      `${name}: RFC 7748`
    )
    for (let i = 0; i < 10; i++) {
      const secretKey = random.bytes(32)
      const other = hex(written(32, (out) => x25519PublicKey(out, random.bytes(32))))
      t.ok(x25519(Buffer.alloc(32), secretKey, other))
      t.equal(
        written(32, (out) => x25519(out, secretKey, other)),
        opensslShared(secretKey, other)
      )
    }
  }
  t.end()
})

test('crypto backends: X25519 refuses points of low order', (t) => {
  const secretKey = new SeededRandom(6).bytes(32)
  const points = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
  ]
  for (const point of points.map(hex)) {
    for (const highBit of [0, 128]) {
      point[31]! |= highBit
      for (const [name, { x25519 }] of BACKENDS) {
        t.notOk(x25519(Buffer.alloc(32), secretKey, point), `${name}: ${point.toString('hex')}`)
      }
    }
  }
  t.end()
})

interface Transport {
  transport: { key: string; nonce: string; pieces: { length: number; keystream: string }[] }
}

test('crypto backends: XSalsa20 as recorded', (t) => {
  const { key, nonce, pieces } = vector<Transport>('noise.json').transport
  for (const [name, { XSalsa20 }] of BACKENDS) {
    const stream = new XSalsa20(hex(key), hex(nonce))
    for (const { length, keystream } of pieces) {
      t.equal(
        written(length, (out) => stream.update(out, Buffer.alloc(length))),
        keystream,
        `${name}: ${length} bytes`
      )
    }
  }
  t.end()
})

test('crypto backends: XSalsa20 is one key stream, however it is cut', (t) => {
  const random = new SeededRandom(7)
  const key = random.bytes(32)
  const nonce = random.bytes(24)
  const whole = random.bytes(200_000)
  const expected = Buffer.alloc(whole.byteLength)
  new sodium.XSalsa20(key, nonce).update(expected, whole)
  for (const [name, { XSalsa20 }] of BACKENDS) {
    for (const largest of [3, 70, 500, 70_000]) {
      const usedKey = Buffer.from(key)
      const stream = new XSalsa20(usedKey, nonce)
      usedKey.fill(0)
      const out = Buffer.alloc(whole.byteLength)
      for (let at = 0; at < whole.byteLength; ) {
        const end = Math.min(whole.byteLength, at + random.between(0, largest))
        const target = out.subarray(at, end)
        if (random.chance(0.5)) stream.update(target, whole.subarray(at, end))
        else {
          target.set(whole.subarray(at, end))
          stream.update(target, target)
        }
        at = end
        // What comes later is compared as well, and the smallest pieces would take long.
        if (largest === 3 && at > 2000) break
      }
      const length = largest === 3 ? 2000 : whole.byteLength
      t.ok(out.subarray(0, length).equals(expected.subarray(0, length)), `${name}, up to ${largest} bytes`)
    }
  }
  t.end()
})

test('crypto backends: XSalsa20, nothing is left of the key', (t) => {
  const [key, nonce, zeros] = [Buffer.alloc(32, 1), Buffer.alloc(24, 2), Buffer.alloc(100)]
  const stream = new browser.XSalsa20(key, nonce)
  stream.update(Buffer.alloc(10), Buffer.alloc(10))
  stream.destroy()
  const values: unknown[] = Object.values(stream)
  const held = values
    .filter((value) => value instanceof Uint8Array)
    .filter(({ byteLength }) => byteLength !== 24)
  t.equal(held.length, 2, 'the key, and the block that was begun')
  t.ok(held.every((value) => zeros.subarray(0, value.byteLength).equals(value)))
  t.ok(key.equals(Buffer.alloc(32, 1)), "the caller's key is left as it was")
  t.end()
})

/** ChaCha20-Poly1305 by OpenSSL. */
function opensslEncrypted(key: Buffer, nonce: Buffer, ad: Buffer | null, plaintext: Buffer): string {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  if (ad !== null) cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]).toString('hex')
}

test('crypto backends: ChaCha20-Poly1305', (t) => {
  const random = new SeededRandom(8)
  for (const size of [0, 1, 15, 16, 17, 63, 64, 65, 1000, 70_001]) {
    const key = random.bytes(32)
    const nonce = random.bytes(12)
    const ad = random.chance(0.7) ? random.bytes(random.below(100)) : null
    const plaintext = random.bytes(size)
    const expected = opensslEncrypted(key, nonce, ad, plaintext)
    const ciphertext = hex(expected)
    for (const [name, { AEAD_TAG_SIZE, aeadDecrypt, aeadEncrypt }] of BACKENDS) {
      t.equal(AEAD_TAG_SIZE, 16)
      const sealed = written(size + 16, (out) => aeadEncrypt(out, plaintext, ad, nonce, key))
      t.equal(sealed, expected, `${name}: ${size} bytes`)
      t.ok(aeadDecrypt(Buffer.alloc(size), ciphertext, ad, nonce, key))
      const opened = written(size, (out) => aeadDecrypt(out, ciphertext, ad, nonce, key))
      t.equal(opened, plaintext.toString('hex'))

      // In place, at an odd address.
      const memory = Buffer.alloc(size + 19)
      const text = memory.subarray(3, 3 + size)
      const all = memory.subarray(3)
      text.set(plaintext)
      aeadEncrypt(all, text, ad, nonce, key)
      t.equal(all.toString('hex'), expected, 'in place')
      t.ok(aeadDecrypt(text, all, ad, nonce, key))
      t.ok(text.equals(plaintext), 'and back')

      for (const at of [0, size >> 1, size, size + 15]) {
        const changed = Buffer.from(ciphertext)
        changed[at]! ^= 16
        t.notOk(aeadDecrypt(Buffer.alloc(size), changed, ad, nonce, key), `byte ${at} changed`)
      }
      t.notOk(aeadDecrypt(Buffer.alloc(size), ciphertext, Buffer.alloc(101), nonce, key), 'other data along')
      t.notOk(aeadDecrypt(Buffer.alloc(size), ciphertext, ad, random.bytes(12), key), 'another nonce')
    }
  }
  t.end()
})

test('crypto backends: random bytes', (t) => {
  for (const [name, { randomFill }] of BACKENDS) {
    const memory = Buffer.alloc(200_010)
    // More than the Web Crypto API gives at a time, at an odd address.
    randomFill(memory.subarray(5, 200_005))
    t.equal(memory.readUIntBE(0, 5) + memory.readUIntBE(200_005, 5), 0, `${name}: only what was asked for`)
    for (let at = 5; at < 200_000; at += 50_000) {
      t.notOk(memory.subarray(at, at + 32).equals(Buffer.alloc(32)), 'everything that was asked for')
    }
  }
  t.end()
})

test('crypto backends: a runtime without random numbers is told so', (t) => {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'crypto')!
  try {
    for (const value of [undefined, {}]) {
      Object.defineProperty(globalThis, 'crypto', { value, configurable: true })
      try {
        browser.ed25519KeyPair(Buffer.alloc(32), Buffer.alloc(64))
        t.fail('a key pair of no randomness')
      } catch (error) {
        t.ok(DDatabaseError.is(error))
        t.equal((error as DDatabaseError).code, 'ERR_UNSUPPORTED_RUNTIME')
        t.match((error as DDatabaseError).message, /globalThis\.crypto\.getRandomValues/)
      }
    }
  } finally {
    Object.defineProperty(globalThis, 'crypto', own)
  }
  t.end()
})
