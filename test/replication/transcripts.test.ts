import test from 'tape'
import { discoveryKey } from '../../src/crypto/keys.ts'
import { StreamCipher } from '../../src/replication/cipher.ts'
import { EXTENSION_TYPE, FrameDecoder, frameSize, writeFrameHeader } from '../../src/replication/frames.ts'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'
import {
  CODECS,
  collect,
  ending,
  event,
  fromVector,
  hex,
  OURS,
  received,
  SeededRandom,
  toVector,
  transcripts,
  turn,
  vector
} from './helpers.ts'

interface Entry {
  n: number
  from: 'initiator' | 'responder'
  kind: 'handshake' | 'frame' | 'keepalive'
  wire: string
  plain?: string
  channel: number
  type: number
  message: Record<string, unknown>
}

type Side = Entry['from']

const SIDES: Side[] = ['initiator', 'responder']

function other(side: Side): Side {
  return side === 'initiator' ? 'responder' : 'initiator'
}

function pair(keys: Record<string, string>, kind: 'static' | 'ephemeral') {
  return { publicKey: hex(keys[`${kind}PublicKey`]!), secretKey: hex(keys[`${kind}SecretKey`]!) }
}

for (const transcript of transcripts()) {
  const { name, keys, split, encrypted, noise } = transcript
  const entries: Entry[] = transcript.entries

  test(`transcript ${name}: decrypts, decodes, and encodes to the same bytes`, (t) => {
    for (const side of SIDES) {
      const mine = entries.filter((entry) => entry.from === side && entry.kind !== 'handshake')
      const wire = Buffer.concat(mine.map((entry) => hex(entry.wire)))
      let plain: Buffer = wire
      if (encrypted) {
        const key = split[side === 'initiator' ? 'initiatorToResponderKey' : 'responderToInitiatorKey']
        plain = Buffer.alloc(wire.length)
        new StreamCipher(hex(key), hex(keys[side].nonce)).update(plain, wire)
      }
      const expected = mine.map((entry) => entry.plain ?? entry.wire).join('')
      t.equal(plain.toString('hex'), expected, `${side}: plain bytes`)

      const frames = mine.filter((entry) => entry.kind === 'frame')
      const decoder = new FrameDecoder(DEFAULT_LIMITS.frameSize)
      decoder.write(plain)
      for (const { channel, type, message, plain: bytes, wire: sent } of frames) {
        t.ok(decoder.next())
        t.equal(decoder.channel, channel)
        t.equal(decoder.type, type)
        if (type === EXTENSION_TYPE) {
          t.equal(Buffer.from(decoder.body).toString('hex'), message as unknown as string)
          continue
        }
        const codec = CODECS[type]!
        t.same(toVector(codec.read(decoder.body, DEFAULT_LIMITS)), received(type, message))
        const again = fromVector(message)
        const size = codec.size(again)
        const frame = Buffer.alloc(frameSize(channel, type, size))
        codec.write(again, frame, writeFrameHeader(frame, 0, channel, type, size))
        t.equal(frame.toString('hex'), bytes ?? sent)
      }
      t.notOk(decoder.next(), 'nothing else')
      t.notOk(decoder.midFrame)
    }
    t.end()
  })

  test(`transcript ${name}: each side repeats its handshake and its Opens byte for byte`, async (t) => {
    for (const side of SIDES) {
      const remote = entries.filter((entry) => entry.from === other(side))
      const mine = entries.filter((entry) => entry.from === side)
      const stream = new OURS[transcript.package as keyof typeof OURS](side === 'initiator', {
        encrypted,
        noise,
        // A responder would offer the authenticated transport; an initiator says nothing of it unless it is offered.
        ...(side === 'responder' && { authenticated: false }),
        timeout: 0,
        live: true,
        ...(noise && {
          keyPair: pair(keys[side], 'static'),
          recorded: { nonce: hex(keys[side].nonce), ephemeralKeyPair: pair(keys[side], 'ephemeral') }
        })
      })
      const output = collect(stream)
      // The Opens that come first, up to the first frame of another kind.
      const frames = mine.filter((entry) => entry.kind !== 'handshake')
      const until = frames.findIndex((entry) => entry.type !== 0)
      const opens = until === -1 ? frames : frames.slice(0, until)
      const feeds = Object.values(transcript.feeds as Record<string, string>).map(hex)
      for (const open of opens) {
        const key = feeds.find(
          (feed) =>
            Buffer.from(discoveryKey(feed, stream.dialect)).toString('hex') === open.message.discoveryKey
        )
        t.ok(key, 'the key of the Open is among the feeds')
        stream.open(key!)
      }
      const random = new SeededRandom(11)
      const incoming = Buffer.concat(
        remote.filter((entry) => entry.kind === 'handshake').map((entry) => hex(entry.wire))
      )
      for (let offset = 0; offset < incoming.length; ) {
        const size = random.between(1, 40)
        stream.write(Buffer.from(incoming.subarray(offset, offset + size)))
        offset += size
      }
      await turn()
      await turn()
      const sent = output.bytes().toString('hex')
      const shakes = mine.filter((entry) => entry.kind === 'handshake').map((entry) => entry.wire)
      const expected = [...shakes, ...opens.map((open) => open.wire)].join('')
      t.equal(sent, expected, `${side}: ${opens.length} Opens after the handshake`)
      if (noise) {
        t.equal(Buffer.from(stream.state.handshakeHash!).toString('hex'), transcript.handshakeHash)
        t.equal(Buffer.from(stream.remotePublicKey!).toString('hex'), keys[other(side)].staticPublicKey)
        t.equal(Buffer.from(stream.publicKey!).toString('hex'), keys[side].staticPublicKey)
      }
      stream.destroy()
    }
    t.end()
  })
}

test('transcript all-messages: both sides repeat the whole exchange byte for byte', async (t) => {
  const transcript = vector('transcripts/all-messages.json')
  const entries: Entry[] = transcript.entries
  const key = hex(Object.values(transcript.feeds as Record<string, string>)[0]!)
  const make = (side: Side) =>
    new OURS.ddatabase(side === 'initiator', {
      timeout: 0,
      ...(side === 'responder' && { authenticated: false }),
      keyPair: pair(transcript.keys[side], 'static'),
      recorded: {
        nonce: hex(transcript.keys[side].nonce),
        ephemeralKeyPair: pair(transcript.keys[side], 'ephemeral')
      }
    })
  const initiator = make('initiator')
  const responder = make('responder')
  const output = { initiator: collect(initiator), responder: collect(responder) }
  const seen: [string, unknown, unknown?][] = []
  const record =
    (handler: string) =>
    (...args: unknown[]) =>
      void seen.push([handler, ...args.map(toVector)] as [string, unknown])
  const names = [
    'options',
    'status',
    'have',
    'unhave',
    'want',
    'unwant',
    'request',
    'cancel',
    'data',
    'extension'
  ]
  responder.open(
    key,
    Object.fromEntries([...names, 'close'].map((name) => [`on${name}`, record(`on${name}`)]))
  )
  const channel = initiator.open(key)
  t.notOk(initiator.ping(), 'a keepalive before the handshake sends nothing')
  // biome-ignore lint/suspicious/noExplicitAny: called by the name of the message
  const methods = channel as any
  for (const entry of entries) {
    if (entry.from !== 'initiator' || entry.kind !== 'frame' || entry.type === 0 || entry.type === 10)
      continue
    if (entry.type === EXTENSION_TYPE) {
      const body = hex(entry.message as unknown as string)
      if (body[0]! < 128) channel.extension(body[0]!, body.subarray(1))
      else channel.extension(300, body.subarray(2))
    } else methods[names[entry.type - 1]!](fromVector(entry.message))
  }
  initiator.pipe(responder).pipe(initiator)
  await event(initiator, 'duplex-channel')
  initiator.ping()
  channel.close()
  await Promise.all([initiator, responder].map((side) => ending(side)))

  for (const side of SIDES) {
    const wire = entries.filter((entry) => entry.from === side).map((entry) => entry.wire)
    t.equal(output[side].bytes().toString('hex'), wire.join(''), `${side}: every byte`)
  }
  const expected = entries
    .filter((entry) => entry.from === 'initiator' && entry.kind === 'frame' && entry.type > 0)
    .map((entry) => {
      if (entry.type === 10) return ['onclose']
      if (entry.type !== EXTENSION_TYPE)
        return [`on${names[entry.type - 1]}`, received(entry.type, entry.message)]
      const body = entry.message as unknown as string
      return body.startsWith('00') ? ['onextension', 0, body.slice(2)] : ['onextension', 300, body.slice(4)]
    })
  t.same(seen, expected, 'and the receiver saw every message')
  t.end()
})
