/** Feeds made with `live: false`: no signatures, and the key is the hash of what was written (spec FORMAT §2.6). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveRoots, naiveTreeHash } from '../helpers/models.ts'
import { failure, memory, texts } from './feeds.ts'

const BLOCKS = ['a', 'bc', 'def'].map((text) => Buffer.from(text))

test('static: from creation to reopening', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files), { live: false })
  t.equal(feed.live, false)
  await feed.ready()
  t.deepEqual([feed.key, feed.discoveryKey, feed.secretKey], [null, null, null], 'no keys yet')
  t.equal(feed.writable, true)
  await feed.append(BLOCKS[0])
  await feed.append(BLOCKS.slice(1))
  t.equal(feed.key, null)
  t.equal(files.read('key'), null, 'no key file')
  await feed.finalize()
  const hash = naiveTreeHash(naiveRoots(BLOCKS))
  t.deepEqual(Buffer.from(feed.key!), hash, 'the key is the tree hash')
  t.deepEqual(feed.discoveryKey, ddatabase.discoveryKey(hash))
  t.deepEqual(Buffer.from(files.read('key')!), hash, 'and stored')
  t.equal(files.read('secret_key'), null, 'no secret key')
  t.equal(files.read('signatures')!.byteLength, 32, 'no signatures')
  await feed.close()

  const again = ddatabase(memory(files))
  await again.ready()
  t.deepEqual([again.live, again.writable, again.length], [false, false, 3])
  t.deepEqual(texts(await again.getBatch(0, 3)), ['a', 'bc', 'def'])
  t.equal((await again.proof(1)).signature, null, 'proofs carry no signature')
  t.equal((await failure(again.signature(0))).code, 'ERR_SIGNATURE_NOT_FOUND')
  t.equal((await failure(again.append(BLOCKS[0]!))).code, 'ERR_NOT_WRITABLE')

  const replica = ddatabase(memory(), hash)
  await replica.put(1, BLOCKS[1]!, await again.proof(1))
  t.deepEqual([replica.live, replica.length], [false, 3], 'a replica learns that it is static')
  t.deepEqual(texts([await replica.get(1)]), ['bc'])
  await replica.close()
  await again.close()
})

test('static: an empty one', async (t) => {
  const feed = ddatabase(memory(), { live: false })
  await feed.finalize()
  t.deepEqual(Buffer.from(feed.key!), naiveTreeHash([]))
  await feed.close()
})

test('static: finalize of a live feed keeps its key', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase(memory(files))
  await feed.ready()
  const { key } = feed
  await feed.finalize()
  t.equal(feed.key, key)
  t.deepEqual(Buffer.from(files.read('key')!), Buffer.from(key!))
  await feed.close()
})

test('static: `live` of what is stored wins over the option', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files))
  await feed.append('a')
  await feed.close()
  const again = ddatabase<unknown>(memory(files), { live: false })
  t.equal(again.live, false, 'before opening')
  await again.ready()
  t.equal(again.live, true, 'after opening')
  await again.append('b')
  t.equal((await again.signature()).index, 1, 'and it signs')
  await again.close()
})
