/** Options that decide what is created, kept and dropped (spec API §2, FORMAT §6). */
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published } from '../helpers/published.ts'
import { failure, feedOf, memory, refusal, texts } from './feeds.ts'

const PAIR = keyPair(Buffer.alloc(32, 7))
const OTHER = keyPair(Buffer.alloc(32, 8))

async function stored(
  values: unknown[],
  options: object = {},
  key: Uint8Array | null = null
): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files), key, options)
  await feed.ready()
  if (values.length > 0) await feed.append(values)
  await feed.close()
  return files
}

test('creating: createIfMissing: false leaves three headers on disk and a key on the object', async (t) => {
  const files = new MemoryFiles()
  const feed = ddatabase(memory(files), { createIfMissing: false })
  t.equal(await refusal(feed.ready()), 'ERR_NO_FEED: No ddatabase is stored here')
  t.equal(feed.key?.byteLength, 32, 'a generated key')
  t.equal(feed.discoveryKey?.byteLength, 32)
  t.deepEqual(Object.keys(files.toHex()), ['bitfield', 'signatures', 'tree'])
  for (const content of Object.values(files.toHex())) t.equal(content.length, 64, 'a header of 32 bytes')
  await feed.close()
  const theirs = new MemoryFiles()
  const original = published(theirs.factory(), null, { createIfMissing: false })
  t.equal((await failure(original.ready())).message, 'No ddatabase is stored here')
  t.deepEqual(files.toHex(), theirs.toHex(), 'as the original leaves them')
  const other = hypercore(memory(), { createIfMissing: false })
  t.equal(await refusal(other.ready()), 'ERR_NO_FEED: No hypercore is stored here')
})

test('creating: createIfMissing: false opens what is there, and what a key is given for', async (t) => {
  const files = await stored(['x'])
  const feed = ddatabase(memory(files), { createIfMissing: false })
  await feed.ready()
  t.deepEqual([feed.length, feed.writable], [1, true])
  await feed.close()
  const given = ddatabase(memory(), PAIR.publicKey, { createIfMissing: false })
  await given.ready()
  t.deepEqual([given.length, given.writable], [0, false])
  await given.close()
})

test('creating: overwrite drops content and keys', async (t) => {
  const files = await stored(['a', 'b', 'c'])
  const before = Buffer.from(files.read('key')!)
  const feed = ddatabase<unknown>(memory(files), { overwrite: true })
  await feed.ready()
  t.deepEqual([feed.length, feed.byteLength, feed.writable], [0, 0, true])
  t.notDeepEqual(Buffer.from(feed.key!), before, 'a new key')
  t.equal(feed.downloaded(), 0)
  await feed.append(['x', 'y'])
  await feed.close()
  const again = ddatabase<unknown>(memory(files))
  t.deepEqual(texts((await again.getBatch(0, 2)) as Uint8Array[]), ['x', 'y'])
  t.deepEqual({ ...(await again.audit()) }, { valid: 2, invalid: 0 })
  await again.close()
  const theirs = published(files.factory())
  t.deepEqual(texts(await theirs.getBatch(0, 2)), ['x', 'y'], 'for the original too')
  await theirs.close()
})

test('creating: overwrite with a public key leaves no secret key behind', async (t) => {
  const files = await stored(['a'])
  const feed = ddatabase<unknown>(memory(files), PAIR.publicKey, { overwrite: true })
  await feed.ready()
  t.equal(feed.writable, false)
  t.equal(feed.secretKey, null)
  await feed.close()
  const again = ddatabase<unknown>(memory(files))
  await again.ready()
  t.deepEqual([again.writable, again.secretKey, again.length], [false, null, 0], 'nor after reopening')
  t.deepEqual(Buffer.from(again.key!), Buffer.from(PAIR.publicKey))
  await again.close()
})

test('creating: storeSecretKey: false', async (t) => {
  const files = await stored(['a'], { storeSecretKey: false, secretKey: PAIR.secretKey }, PAIR.publicKey)
  t.equal(files.read('secret_key'), null, 'no file')
  const feed = ddatabase<unknown>(memory(files))
  await feed.ready()
  t.deepEqual([feed.length, feed.writable], [1, false], 'to read')
  await feed.close()
  const writer = ddatabase<unknown>(memory(files), { secretKey: PAIR.secretKey, storeSecretKey: false })
  t.equal(await writer.append('b'), 1, 'to write with the key given')
  await writer.close()
  t.equal(files.read('secret_key'), null, 'which is not stored')
  const keeper = ddatabase<unknown>(memory(files), { secretKey: PAIR.secretKey })
  await keeper.ready()
  await keeper.close()
  t.deepEqual(Buffer.from(files.read('secret_key')!), Buffer.from(PAIR.secretKey), 'unless it shall be')
})

test('creating: overwrite with storeSecretKey: false leaves no secret key behind', async (t) => {
  const files = await stored(['a'])
  const feed = ddatabase<unknown>(memory(files), { overwrite: true, storeSecretKey: false })
  t.equal(await feed.append('x'), 0)
  await feed.close()
  const again = ddatabase<unknown>(memory(files))
  await again.ready()
  t.deepEqual([again.writable, again.length], [false, 1])
  t.deepEqual(Buffer.from(again.key!), Buffer.from(feed.key!))
  await again.close()
})

test('creating: writable: true', async (t) => {
  const writer = ddatabase(memory(), { writable: true })
  t.equal(writer.writable, true, 'before it is known')
  await writer.ready()
  t.equal(writer.writable, true)
  await writer.close()
  const replica = ddatabase(memory(), PAIR.publicKey, { writable: true })
  t.equal(replica.writable, true, 'before it is known')
  t.equal(await refusal(replica.ready()), 'ERR_NOT_WRITABLE_OPTION: Feed is not writable')
  t.equal(replica.writable, false, 'now it is known')
  await replica.close()
  t.equal(replica.writable, false)
})

test('creating: writable: true, and an opening that fails', async (t) => {
  const files = await stored(['a'], { secretKey: PAIR.secretKey }, PAIR.publicKey)
  const other = ddatabase(memory(files), OTHER.publicKey, { writable: true })
  const told: boolean[] = []
  other.on('error', () => told.push(other.writable))
  const answered = new Promise<boolean>((resolve) => other.ready(() => resolve(other.writable)))
  t.deepEqual([await answered, ...told], [false, false], 'for callbacks and listeners too')
  await other.close()

  const plan = new FaultPlan()
  plan.arm('before', 1)
  const feed = ddatabase<unknown>(files.factory(plan) as never, { writable: true })
  t.equal((await failure(feed.ready())).code, 'ERR_STORAGE')
  t.equal(feed.writable, false)
  plan.disarm()
  t.equal(await feed.append('b'), 1, 'the next attempt finds out that it is')
  t.equal(feed.writable, true)
  await feed.close()
})

test('creating: a secret key without a public key', async (t) => {
  const feed = ddatabase<unknown>(memory(), { secretKey: PAIR.secretKey })
  t.equal(await feed.append('x'), 0)
  t.deepEqual(Buffer.from(feed.key!), Buffer.from(PAIR.publicKey), 'belongs to its own public key')
  await feed.close()
})

test('creating: a stored secret key wins over a given one', async (t) => {
  const files = await stored(['a'], { secretKey: PAIR.secretKey }, PAIR.publicKey)
  const feed = ddatabase<unknown>(memory(files), { secretKey: OTHER.secretKey })
  t.equal(await feed.append('b'), 1)
  t.deepEqual(Buffer.from(feed.secretKey!), Buffer.from(PAIR.secretKey))
  await feed.close()
})

test('creating: a secret key of another feed', async (t) => {
  const files = await stored(['a'], { secretKey: PAIR.secretKey, storeSecretKey: false }, PAIR.publicKey)
  const before = files.toHex()
  const feed = ddatabase(memory(files), { secretKey: OTHER.secretKey })
  t.equal((await failure(feed.ready())).code, 'ERR_SECRET_KEY_MISMATCH')
  t.deepEqual(files.toHex(), before, 'nothing is written')
})

test('creating: another feed is stored here', async (t) => {
  const files = await stored(['a'], { secretKey: PAIR.secretKey }, PAIR.publicKey)
  const before = files.toHex()
  t.equal(
    await refusal(ddatabase(memory(files), OTHER.publicKey).ready()),
    'ERR_OTHER_FEED: Another ddatabase is stored here'
  )
  t.equal(
    await refusal(ddatabase(memory(files), OTHER.publicKey, { force: true }).ready()),
    'ERR_OTHER_FEED: Another ddatabase is stored here',
    '`force` is of the other dialect'
  )
  t.deepEqual(files.toHex(), before, 'nothing is written')
})

test('creating: initial flags', async (t) => {
  const replica = ddatabase(memory(), PAIR.publicKey)
  await replica.ready()
  t.deepEqual(
    [replica.downloading, replica.uploading, replica.allowPush, replica.sparse],
    [true, true, false, false]
  )
  await replica.close()
  const writer = await feedOf([])
  t.deepEqual([writer.downloading, writer.uploading, writer.maxRequests], [false, true, 16])
  await writer.close()
  for (const downloading of [true, false]) {
    for (const key of [null, PAIR.publicKey]) {
      const feed = ddatabase(memory(), key, {
        downloading,
        uploading: false,
        allowPush: true,
        maxRequests: 2
      })
      await feed.ready()
      t.deepEqual(
        [feed.downloading, feed.uploading, feed.allowPush, feed.maxRequests],
        [downloading, false, true, 2]
      )
      await feed.close()
    }
  }
  const set = ddatabase(memory())
  set.setDownloading(true)
  set.setUploading(false)
  await set.ready()
  t.deepEqual([set.downloading, set.uploading], [true, false], 'chosen before opening')
  set.maxRequests = 99
  t.equal(set.maxRequests, 99)
  await set.close()
})
