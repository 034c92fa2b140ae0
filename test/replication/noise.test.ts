import test from 'tape'
import { capability, remoteCapability } from '../../src/crypto/capability.ts'
import { DDATABASE, HYPERCORE } from '../../src/dialect.ts'
import { StreamCipher } from '../../src/replication/cipher.ts'
import { handshakePayloadCodec } from '../../src/replication/handshake-payload.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { hex, ProtocolStream, vector } from './helpers.ts'

const noise = vector('noise.json')
const crypto = vector('crypto.json')

interface Keys {
  staticPublicKey: string
  staticSecretKey: string
  ephemeralPublicKey: string
  ephemeralSecretKey: string
}

function side(initiator: boolean, keys: Keys): NoiseHandshake {
  return new NoiseHandshake(
    initiator,
    { publicKey: hex(keys.staticPublicKey), secretKey: hex(keys.staticSecretKey) },
    { publicKey: hex(keys.ephemeralPublicKey), secretKey: hex(keys.ephemeralSecretKey) }
  )
}

test('noise: the recorded handshakes come out byte for byte', (t) => {
  for (const { label, payloads, keys, messages, handshakeHash, split } of noise.handshakes) {
    const initiator = side(true, keys.initiator)
    const responder = side(false, keys.responder)
    messages.forEach((recorded: { from: string; message: string; payloadReceived: string }, i: number) => {
      const [sender, receiver] =
        recorded.from === 'initiator' ? [initiator, responder] : [responder, initiator]
      const message = Buffer.from(sender.send(hex(payloads[i])))
      t.equal(message.toString('hex'), recorded.message, `${label}, message ${i + 1}`)
      const copy = Buffer.from(message)
      const payload = receiver.recv(message)
      t.equal(Buffer.from(payload).toString('hex'), recorded.payloadReceived, 'payload')
      t.ok(message.equals(copy), 'the message is left as it was')
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

test('noise: a changed, cut or extended message is refused', (t) => {
  const payload = Buffer.alloc(26, 1)
  const change = (message: Uint8Array, at: number) => {
    const changed = Buffer.from(message)
    changed[at]! ^= 1
    return changed
  }
  for (const alter of [
    (m: Uint8Array) => change(m, 0),
    (m: Uint8Array) => change(m, 40),
    (m: Uint8Array) => change(m, 100),
    (m: Uint8Array) => m.subarray(0, m.byteLength - 1),
    (m: Uint8Array) => m.subarray(0, 20),
    (m: Uint8Array) => Buffer.concat([m, Buffer.alloc(1)]),
    () => Buffer.alloc(0)
  ]) {
    const initiator = new NoiseHandshake(true, ProtocolStream.keyPair())
    const responder = new NoiseHandshake(false, ProtocolStream.keyPair())
    responder.recv(initiator.send(payload))
    const second = responder.send(payload)
    t.throws(() => initiator.recv(alter(second)))
    t.equal(initiator.result, null)
  }
  t.end()
})

test('noise: a remote key of low order is refused', (t) => {
  const responder = new NoiseHandshake(false, ProtocolStream.keyPair())
  responder.recv(Buffer.concat([Buffer.alloc(32), Buffer.alloc(26)]))
  t.throws(() => responder.send(Buffer.alloc(26)))
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

test('cipher: one continuous key stream, in place or not', (t) => {
  const { key, nonce, pieces } = noise.transport
  const inPlace = new StreamCipher(hex(key), hex(nonce))
  const apart = new StreamCipher(hex(key), hex(nonce))
  for (const { length, keystream } of pieces) {
    const bytes = Buffer.alloc(length)
    inPlace.update(bytes, bytes)
    const expected = typeof keystream === 'string' ? keystream : null
    if (expected !== null)
      t.equal(bytes.toString('hex').slice(0, expected.length), expected, `${length} bytes`)
    const zeros = Buffer.alloc(length)
    const out = Buffer.alloc(length)
    apart.update(out, zeros)
    t.ok(out.equals(bytes))
    t.ok(zeros.equals(Buffer.alloc(length)), 'the input is left as it was')
  }
  inPlace.destroy()
  t.end()
})

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
