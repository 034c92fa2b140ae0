/** Values of another realm, as of `node:vm`, of a frame or of a test runner: they are no `instanceof` of anything here. */
import { once } from 'node:events'
import { createContext, runInContext } from 'node:vm'
import RandomAccessMemory from 'random-access-memory'
import test from 'tape'
import ddatabase, { Feed, ProtocolStream, verifyFork } from '../../src/index.ts'
import type { StorageFactory } from '../../src/storage/random-access.ts'
import { rejection, within } from '../helpers/watchdog.ts'

const realm = createContext({})

/** The same bytes in a Uint8Array of the other realm. */
function foreign(bytes: Uint8Array): Uint8Array {
  return runInContext('(bytes) => new Uint8Array(bytes)', realm)([...bytes])
}

async function written(): Promise<Feed> {
  const feed = new Feed(RandomAccessMemory)
  await feed.append(['a', 'b', 'c'])
  return feed
}

test('other realm: bytes are no Uint8Array of this one', (t) => {
  t.notOk(foreign(new Uint8Array(1)) instanceof Uint8Array)
  t.end()
})

test('other realm: keys and options', async (t) => {
  const feed = await written()
  const key = foreign(feed.key!)
  const given = runInContext('(key, secretKey) => ({ key, secretKey, valueEncoding: "utf-8" })', realm)
  const copies = [
    new Feed(RandomAccessMemory, key),
    new Feed(RandomAccessMemory, key, { secretKey: foreign(feed.secretKey!) }),
    new Feed(RandomAccessMemory, given(key, foreign(feed.secretKey!)))
  ]
  for (const copy of copies) {
    await copy.ready()
    t.same(copy.key, feed.key)
    await copy.close()
  }
  t.same(ddatabase.discoveryKey(key), feed.discoveryKey)
  t.equal(verifyFork({}, key), false, 'the key is one, the proof is none')
  await feed.close()
})

test('other realm: blocks', async (t) => {
  const codec = {
    encode: (value: number) => foreign(new Uint8Array([value])),
    decode: ([value]: Uint8Array) => value!
  }
  const feed = new Feed<number>(RandomAccessMemory, { valueEncoding: codec })
  await feed.append(runInContext('[7, 8]', realm))
  t.equal(await feed.get(1), 8)
  await feed.close()

  const cut = new Feed(RandomAccessMemory)
  const stream = cut.createWriteStream({ maxBlockSize: 2 })
  stream.end(foreign(new Uint8Array([1, 2, 3])))
  await once(stream, 'close')
  t.same(await cut.get(1), Buffer.from([3]))
  await cut.close()
})

test('other realm: proofs and signatures', async (t) => {
  const feed = await written()
  const copy = new Feed(RandomAccessMemory, feed.key)
  const proof = await feed.proof(1)
  const nodes = proof.nodes.map((node) => ({ ...node, hash: foreign(node.hash) }))
  await copy.put(1, foreign(Buffer.from('b')), { nodes, signature: foreign(proof.signature!) })
  t.same(await copy.get(1), Buffer.from('b'))
  const { signature, index } = await feed.signature(2)
  t.ok(await feed.verify(index, foreign(signature)))
  await feed.close()
  await copy.close()
})

test('other realm: what hooks and storages answer', async (t) => {
  const crypto = {
    sign: (_data: unknown, _key: unknown, done: (error: null, signature: Uint8Array) => void) =>
      done(null, foreign(new Uint8Array(64).fill(7))),
    verify: (
      _data: unknown,
      _signature: unknown,
      _key: unknown,
      done: (error: null, valid: boolean) => void
    ) => done(null, true)
  }
  const signed = new Feed(RandomAccessMemory, { crypto })
  await signed.append('a')
  t.same((await signed.signature(0)).signature, Buffer.alloc(64, 7))
  await signed.close()

  const files = new Map<string, InstanceType<typeof RandomAccessMemory>>()
  const storage: StorageFactory = (name) => {
    const file = files.get(name) ?? new RandomAccessMemory()
    files.set(name, file)
    return {
      read: (offset, size, done) =>
        file.read(offset, size, (error: Error | null, data: Uint8Array) =>
          error ? done(error) : done(null, foreign(data))
        ),
      write: (offset, data, done) => file.write(offset, data as Buffer, done)
    }
  }
  const first = new Feed(storage)
  await first.append(['a', 'b'])
  await first.close()
  const again = new Feed(storage)
  t.same(await again.get(1), Buffer.from('b'))
  t.same(await again.audit(), { valid: 2, invalid: 0 })
  await again.close()
})

test('other realm: replication', async (t) => {
  const feed = await written()
  const pair = ProtocolStream.keyPair(foreign(new Uint8Array(32)))
  const noiseKeyPair = { publicKey: foreign(pair.publicKey), secretKey: foreign(pair.secretKey) }
  const copy = new Feed(RandomAccessMemory, feed.key, { noiseKeyPair })
  const one = feed.replicate(true, { live: true })
  const other = copy.replicate(false, { live: true })
  one.on('data', (bytes: Uint8Array) => other.write(foreign(bytes)))
  other.on('data', (bytes: Uint8Array) => one.write(foreign(bytes)))
  const told = new Promise((resolve) => copy.registerExtension('told', { onmessage: resolve }))
  const encoding = { encode: foreign, decode: (bytes: Uint8Array) => bytes }
  const extension = feed.registerExtension('told', { encoding })
  feed.once('peer-open', (peer) => extension.send(new Uint8Array([1]), peer))
  t.same(await copy.get(2), Buffer.from('c'))
  t.same(await told, Buffer.from([1]))
  t.same(one.remotePublicKey, pair.publicKey)
  one.close(foreign(feed.discoveryKey!))
  one.destroy()
  other.destroy()
  await feed.close()
  await copy.close()
})

test('other realm: an asynchronous onauthenticate that fails refuses the remote', async (t) => {
  const feed = await written()
  const copy = new Feed(RandomAccessMemory, feed.key)
  const onauthenticate = runInContext('(async () => { throw new Error("not you") })', realm)
  const one = feed.replicate(true, { onauthenticate })
  const other = copy.replicate(false)
  const refused = rejection(within(once(one, 'end'), 'the stream'), 'the stream')
  other.on('error', () => {})
  one.pipe(other).pipe(one)
  t.equal((await refused).code, 'ERR_AUTHENTICATION_REFUSED')
  await feed.close()
  await copy.close()
})
