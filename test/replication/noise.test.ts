import Noise from 'noise-handshake'
import test, { type Test } from 'tape'
import * as backend from '../../src/crypto/backend.ts'
import { capability, remoteCapability } from '../../src/crypto/capability.ts'
import { DDATABASE, HYPERCORE } from '../../src/dialect.ts'
import { StreamCipher } from '../../src/replication/cipher.ts'
import { handshakePayloadCodec } from '../../src/replication/handshake-payload.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { browserModules } from '../crypto/backends.ts'
import { hex, ProtocolStream, vector } from './helpers.ts'

const noise = vector('noise.json')
const crypto = vector('crypto.json')

interface Keys {
  staticPublicKey: string
  staticSecretKey: string
  ephemeralPublicKey: string
  ephemeralSecretKey: string
}

// The same sources over the two backends.
type NoiseClass = typeof NoiseHandshake
interface BrowserModules {
  NoiseHandshake: NoiseClass
  StreamCipher: typeof StreamCipher
}
const inBrowsers = browserModules<BrowserModules>('replication/noise.ts', 'replication/cipher.ts')
const RUNTIMES: readonly (readonly [string, NoiseClass])[] = [
  ['node', NoiseHandshake],
  ['browser', inBrowsers.NoiseHandshake]
]

const NONE = Buffer.alloc(0)

function side(initiator: boolean, keys: Keys, Handshake: NoiseClass): NoiseHandshake {
  return new Handshake(
    initiator,
    { publicKey: hex(keys.staticPublicKey), secretKey: hex(keys.staticSecretKey) },
    { publicKey: hex(keys.ephemeralPublicKey), secretKey: hex(keys.ephemeralSecretKey) }
  )
}

/** Two sides with new keys, after the first `messages` messages. */
function begun(Handshake: NoiseClass, messages: number): [NoiseHandshake, NoiseHandshake] {
  const sides: [NoiseHandshake, NoiseHandshake] = [
    new Handshake(true, ProtocolStream.keyPair()),
    new Handshake(false, ProtocolStream.keyPair())
  ]
  for (let i = 0; i < messages; i++) sides[(i + 1) % 2]!.recv(sides[i % 2]!.send(PAYLOAD))
  return sides
}

const PAYLOAD = Buffer.alloc(26, 1)

/** Whether `action` fails the way a handshake may fail, and leaves a side behind that does nothing any more. */
function fails(t: Test, noise: NoiseHandshake, action: () => void, name: string): void {
  try {
    action()
    t.fail(name)
  } catch (error) {
    t.equal((error as { code?: unknown }).code, 'ERR_HANDSHAKE', name)
  }
  t.equal(noise.result, null)
  for (const again of [() => noise.send(NONE), () => noise.recv(Buffer.alloc(200))]) {
    t.throws(again, { code: 'ERR_HANDSHAKE' }, 'it is over')
  }
}

for (const [runtime, Handshake] of RUNTIMES) {
  test(`noise, ${runtime}: the recorded handshakes come out byte for byte`, (t) => {
    for (const { label, payloads, keys, messages, handshakeHash, split } of noise.handshakes) {
      const initiator = side(true, keys.initiator, Handshake)
      const responder = side(false, keys.responder, Handshake)
      messages.forEach((recorded: { from: string; message: string; payloadReceived: string }, i: number) => {
        const [sender, receiver] =
          recorded.from === 'initiator' ? [initiator, responder] : [responder, initiator]
        const message = Buffer.from(sender.send(hex(payloads[i])))
        t.equal(message.toString('hex'), recorded.message, `${label}, message ${i + 1}`)
        const copy = Buffer.from(message)
        const payload = receiver.recv(message)
        t.ok(message.equals(copy), 'the message is left as it was')
        message.fill(0)
        t.equal(
          Buffer.from(payload).toString('hex'),
          recorded.payloadReceived,
          'payload, no view on the message'
        )
      })
      for (const [one, mine, other] of [
        [initiator, 'initiator', 'responder'],
        [responder, 'responder', 'initiator']
      ] as const) {
        const result = one.result!
        t.equal(Buffer.from(result.handshakeHash).toString('hex'), handshakeHash, `${mine}: hash`)
        t.equal(Buffer.from(result.split.tx).toString('hex'), split[`${mine}Tx`].slice(0, 64), 'tx')
        t.equal(Buffer.from(result.split.rx).toString('hex'), split[`${mine}Rx`].slice(0, 64), 'rx')
        t.equal(Buffer.from(result.remotePublicKey).toString('hex'), keys[other].staticPublicKey)
      }
    }
    t.end()
  })

  test(`noise, ${runtime}: cacophony's vectors, with prologue and what follows the handshake`, (t) => {
    const pair = (secret: string) => {
      const publicKey = Buffer.alloc(32)
      backend.x25519PublicKey(publicKey, hex(secret))
      return { publicKey, secretKey: hex(secret) }
    }
    for (const recorded of vector('public/cacophony-noise-xx.json').vectors) {
      const sides = ['init', 'resp'].map(
        (role) =>
          new Handshake(
            role === 'init',
            pair(recorded[`${role}_static`]),
            pair(recorded[`${role}_ephemeral`]),
            hex(recorded[`${role}_prologue`])
          )
      )
      const sent = [0, 0]
      recorded.messages.forEach(({ payload, ciphertext }: Record<string, string>, i: number) => {
        const sender = sides[i % 2]!
        const receiver = sides[(i + 1) % 2]!
        if (i < 3) {
          const message = sender.send(hex(payload!))
          t.equal(Buffer.from(message).toString('hex'), ciphertext, `message ${i + 1}`)
          t.equal(Buffer.from(receiver.recv(message)).toString('hex'), payload, 'payload')
        } else {
          const nonce = Buffer.alloc(12)
          nonce[4] = sent[i % 2]!++
          const out = Buffer.alloc(ciphertext!.length / 2)
          backend.aeadEncrypt(out, hex(payload!), null, nonce, sender.result!.split.tx)
          t.equal(out.toString('hex'), ciphertext, `message ${i + 1}, with a split key`)
          t.deepEqual(receiver.result!.split.rx, sender.result!.split.tx)
        }
      })
      for (const { result } of sides) {
        t.equal(Buffer.from(result!.handshakeHash).toString('hex'), recorded.handshake_hash)
      }
    }
    t.end()
  })

  test(`noise, ${runtime}: with noise-handshake on the other side, in both roles`, (t) => {
    for (const initiator of [true, false]) {
      for (const payload of [NONE, PAYLOAD, Buffer.alloc(5000, 7)]) {
        const [ownPair, otherPair] = [ProtocolStream.keyPair(), ProtocolStream.keyPair()]
        const own = new Handshake(initiator, ownPair)
        const other = new Noise('XX', !initiator, otherPair)
        other.initialise(NONE)
        for (let i = 0; i < 3; i++) {
          const received =
            initiator === (i % 2 === 0)
              ? other.recv(Buffer.from(own.send(payload)))
              : own.recv(other.send(payload))
          t.ok(payload.equals(received), `message ${i + 1}`)
        }
        const { split, handshakeHash, remotePublicKey } = own.result!
        t.ok(Buffer.from(other.hash!).equals(handshakeHash), 'hash')
        t.ok(Buffer.from(other.rx!).equals(split.tx) && Buffer.from(other.tx!).equals(split.rx), 'keys')
        t.ok(Buffer.from(otherPair.publicKey).equals(remotePublicKey))
        t.ok(Buffer.from(ownPair.publicKey).equals(other.rs!))
      }
    }
    t.end()
  })

  test(`noise, ${runtime}: all lengths but the right ones are refused`, (t) => {
    for (const messages of [1, 2]) {
      const length = messages === 1 ? 122 : 90
      for (const size of [
        0,
        1,
        31,
        32,
        47,
        48,
        63,
        64,
        79,
        80,
        95,
        96,
        length - 1,
        length + 1,
        65535,
        65536
      ]) {
        if (size === length) continue
        const [initiator, responder] = begun(Handshake, messages)
        const [sender, receiver] = messages === 1 ? [responder, initiator] : [initiator, responder]
        const message = Buffer.alloc(size)
        message.set(sender.send(PAYLOAD).subarray(0, size))
        fails(t, receiver, () => receiver.recv(message), `message ${messages + 1}, ${size} bytes`)
      }
    }
    // The first message has no tag: only its shortest and longest length are known.
    for (const size of [0, 1, 31, 65536]) {
      const [, responder] = begun(Handshake, 0)
      fails(t, responder, () => responder.recv(Buffer.alloc(size, 9)), `message 1, ${size} bytes`)
    }
    t.end()
  })

  test(`noise, ${runtime}: any changed byte is refused`, (t) => {
    for (const messages of [1, 2]) {
      for (let at = 0; at < (messages === 1 ? 122 : 90); at += 7) {
        const [initiator, responder] = begun(Handshake, messages)
        const [sender, receiver] = messages === 1 ? [responder, initiator] : [initiator, responder]
        const message = Buffer.from(sender.send(PAYLOAD))
        message[at]! ^= 1
        fails(t, receiver, () => receiver.recv(message), `message ${messages + 1}, byte ${at}`)
      }
    }
    t.end()
  })

  test(`noise, ${runtime}: keys of low order are refused`, (t) => {
    const low = Buffer.alloc(32)
    const [, responder] = begun(Handshake, 0)
    responder.recv(Buffer.concat([low, PAYLOAD]))
    fails(t, responder, () => responder.send(PAYLOAD), 'ephemeral key of the initiator')

    const [initiator] = begun(Handshake, 0)
    initiator.send(PAYLOAD)
    fails(t, initiator, () => initiator.recv(Buffer.alloc(122)), 'ephemeral key of the responder')

    // Static keys come encrypted, so they need a partner that plays along up to there.
    const cheating = { publicKey: low, secretKey: ProtocolStream.keyPair().secretKey }
    const [asker] = begun(Handshake, 0)
    const cheat = new Handshake(false, cheating)
    cheat.recv(asker.send(PAYLOAD))
    const second = cheat.send(PAYLOAD)
    fails(t, asker, () => asker.recv(second), 'static key of the responder')

    const [, asked] = begun(Handshake, 0)
    const first = new Handshake(true, cheating)
    asked.recv(first.send(PAYLOAD))
    first.recv(asked.send(PAYLOAD))
    const third = first.send(PAYLOAD)
    fails(t, asked, () => asked.recv(third), 'static key of the initiator')
    t.end()
  })

  test(`noise, ${runtime}: messages out of turn, too long, or after the end`, (t) => {
    const [initiator, responder] = begun(Handshake, 0)
    fails(t, responder, () => responder.send(NONE), 'the responder does not begin')
    fails(t, initiator, () => initiator.recv(Buffer.alloc(58)), 'the initiator does')
    const [longWinded] = begun(Handshake, 0)
    fails(t, longWinded, () => longWinded.send(Buffer.alloc(65504)), 'more than 65535 bytes')
    const [given] = begun(Handshake, 1)
    fails(t, given, () => given.destroy() ?? given.send(NONE), 'given up')
    const [one, two] = begun(Handshake, 3)
    t.throws(() => one.send(NONE), { code: 'ERR_HANDSHAKE' })
    t.throws(() => two.recv(Buffer.alloc(100)), { code: 'ERR_HANDSHAKE' })
    t.ok(
      one.result!.handshakeHash.some((byte) => byte !== 0),
      'what was agreed on stays'
    )
    t.deepEqual(one.result!.split.tx, two.result!.split.rx)
    t.ok(one.result!.split.tx.some((byte) => byte !== 0))
    t.end()
  })
}

test('noise: the keys that were given stay as they are', (t) => {
  const { keys } = noise.handshakes[0]
  const ephemeral = {
    publicKey: hex(keys.initiator.ephemeralPublicKey),
    secretKey: hex(keys.initiator.ephemeralSecretKey)
  }
  const pair = ProtocolStream.keyPair()
  const [publicKey, secretKey] = [Buffer.from(pair.publicKey), Buffer.from(pair.secretKey)]
  const initiator = new NoiseHandshake(true, pair, ephemeral)
  const responder = new NoiseHandshake(false, ProtocolStream.keyPair())
  const none = Buffer.alloc(0)
  responder.recv(initiator.send(none))
  initiator.recv(responder.send(none))
  responder.recv(initiator.send(none))
  t.ok(initiator.result && responder.result)
  t.equal(ephemeral.secretKey.toString('hex'), keys.initiator.ephemeralSecretKey)
  t.ok(publicKey.equals(pair.publicKey) && secretKey.equals(pair.secretKey))
  t.end()
})

test('handshake payload: exact nonce, unknown fields skipped', (t) => {
  const read = (text: string) => handshakePayloadCodec.read(hex(text), DEFAULT_LIMITS)
  const nonce = '07'.repeat(24)
  t.equal(Buffer.from(read(`0a18${nonce}`).nonce).toString('hex'), nonce)
  t.equal(Buffer.from(read(`4801 0a18${nonce} 520101`.replaceAll(' ', '')).nonce).toString('hex'), nonce)
  t.throws(() => read(''))
  t.throws(() => read(`0a17${'07'.repeat(23)}`))
  t.throws(() => read(`0a19${'07'.repeat(25)}`))
  t.end()
})

for (const [runtime, Cipher] of [
  ['node', StreamCipher],
  ['browser', inBrowsers.StreamCipher]
] as const) {
  test(`cipher, ${runtime}: one continuous key stream, in place or not`, (t) => {
    const { key, nonce, pieces } = noise.transport
    const inPlace = new Cipher(hex(key), hex(nonce))
    const apart = new Cipher(hex(key), hex(nonce))
    for (const { length, keystream } of pieces) {
      const bytes = Buffer.alloc(length)
      inPlace.update(bytes, bytes)
      t.equal(bytes.toString('hex'), keystream, `${length} bytes`)
      const zeros = Buffer.alloc(length)
      const out = Buffer.alloc(length)
      apart.update(out, zeros)
      t.ok(out.equals(bytes))
      t.ok(zeros.equals(Buffer.alloc(length)), 'the input is left as it was')
    }
    inPlace.destroy()
    t.end()
  })
}

test('capabilities: both dialects, both views', (t) => {
  for (const recorded of crypto.capabilities) {
    const key = hex(recorded.key)
    const split = { tx: hex(recorded.splitTx), rx: hex(recorded.splitRx) }
    for (const dialect of [DDATABASE, HYPERCORE]) {
      const expected = recorded[dialect.name]
      t.equal(Buffer.from(capability(key, split, dialect)).toString('hex'), expected.capability)
      t.equal(Buffer.from(remoteCapability(key, split, dialect)).toString('hex'), expected.remoteCapability)
    }
  }
  for (const recorded of crypto.noiseKeyPairsFromSeed) {
    const pair = ProtocolStream.keyPair(hex(recorded.seed))
    t.equal(Buffer.from(pair.publicKey).toString('hex'), recorded.publicKey)
    t.equal(Buffer.from(pair.secretKey).toString('hex'), recorded.secretKey)
  }
  t.end()
})
