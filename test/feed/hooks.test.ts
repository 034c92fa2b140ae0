/** Functions of the application: `onwrite`, `crypto`, and `indexing`, where it writes the data itself (spec API §2, §9). */
import test from 'tape'
import { keyPair, sign, verify } from '../../src/crypto/keys.ts'
import ddatabase, { type CryptoHooks, type WriteHook } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { copyBlocks, failure, feedOf, memory, replicaOf, texts } from './feeds.ts'

test('hooks: onwrite sees each value of an append as it was given, before anything is written', async (t) => {
  const calls: unknown[][] = []
  const files = new MemoryFiles()
  let sizes: unknown[] = []
  const onwrite: WriteHook = (index, data, peer, callback) => {
    sizes.push(files.read('data')?.byteLength ?? 0)
    calls.push([index, data, peer])
    callback(null)
  }
  const feed = await feedOf<unknown>([], { onwrite, valueEncoding: 'json' }, files)
  const values = [{ a: 1 }, [2], 'three']
  await feed.append([values[0], values[1]])
  await feed.append(values[2])
  t.deepEqual(
    calls,
    values.map((value, i) => [i, value, null])
  )
  t.equal(calls[0]![1], values[0], 'the very value')
  t.deepEqual(sizes, [0, 0, files.read('data')!.byteLength - '"three"\n'.length])
  sizes = []
  await feed.flush()
  t.deepEqual(sizes, [], 'flush writes nothing')
  await feed.close()
})

test('hooks: onwrite is asked with indexes from the stored length, also before opening', async (t) => {
  const files = new MemoryFiles()
  await (await feedOf(['a', 'b', 'c'], {}, files)).close()
  const indexes: number[] = []
  const onwrite: WriteHook = (index, _data, _peer, callback) => {
    indexes.push(index)
    setImmediate(callback, null)
  }
  const feed = ddatabase<unknown>(memory(files), { onwrite })
  const answers = await Promise.all([feed.append('d'), feed.append(['e', 'f']), feed.append('g')])
  t.deepEqual(answers, [3, 4, 6])
  t.deepEqual(indexes, [3, 4, 5, 6])
  await feed.close()
})

test('hooks: all values of a batch are asked at once, and the last error is the answer', async (t) => {
  const pending: (() => void)[] = []
  const onwrite: WriteHook = (index, _data, _peer, callback) => {
    pending.push(() => callback(index === 1 ? null : new Error(`not ${index}`)))
  }
  const feed = await feedOf<unknown>([], { onwrite })
  const answer = failure(feed.append(['a', 'b', 'c']))
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  t.equal(pending.length, 3, 'three are asked')
  for (const reply of pending) reply()
  t.equal((await answer).message, 'not 2')
  t.equal(feed.length, 0)
  await feed.close()
})

test('hooks: onwrite of a block that is put sees its bytes', async (t) => {
  const source = await feedOf(['a', 'b'])
  const calls: unknown[][] = []
  let refuse = false
  const onwrite: WriteHook = (index, data, peer, callback) => {
    calls.push([index, data === null ? null : String(data), peer])
    callback(refuse ? new Error('refused') : null)
  }
  const replica = await replicaOf(source, { onwrite })
  await copyBlocks(source, replica, 1)
  await replica.put(0, null, await source.proof(0, { hash: true }))
  t.deepEqual(calls, [
    [1, 'b', null],
    [0, null, null]
  ])
  refuse = true
  t.equal((await failure(copyBlocks(source, replica, 0))).message, 'refused')
  t.equal(replica.has(0), false, 'nothing is stored')
  refuse = false
  await copyBlocks(source, replica, 0)
  t.equal(replica.has(0), true)
  await source.close()
  await replica.close()
})

for (const later of [false, true]) {
  const answer = <T>(callback: (error: Error | null, value?: T) => void, value: T) =>
    later ? setImmediate(callback, null, value) : callback(null, value)

  test(`hooks: crypto that answers ${later ? 'later' : 'at once'}`, async (t) => {
    const calls: unknown[][] = []
    const crypto: CryptoHooks = {
      sign(data, secretKey, callback) {
        calls.push(['sign', data.byteLength, Buffer.from(secretKey).toString('hex')])
        answer(callback, sign(data, secretKey))
      },
      verify(data, signature, key, callback) {
        calls.push(['verify', data.byteLength, signature.byteLength, Buffer.from(key).toString('hex')])
        answer(callback, verify(data, signature, key))
      }
    }
    const pair = keyPair(Buffer.alloc(32, 4))
    const key = Buffer.from(pair.publicKey).toString('hex')
    const feed = ddatabase<unknown>(memory(), pair.publicKey, { secretKey: pair.secretKey, crypto })
    t.equal(feed.crypto, crypto)
    await feed.append(['a', 'b'])
    t.deepEqual(
      calls,
      [['sign', 40, Buffer.from(pair.secretKey).toString('hex')]],
      'one signature for a batch'
    )
    calls.length = 0
    const { signature } = await feed.signature(1)
    calls.length = 0
    t.equal(await feed.verify(1, signature), true)
    t.deepEqual(calls, [['verify', 40, 64, key]])
    calls.length = 0
    const wrong = Buffer.from(signature)
    wrong[0]! ^= 1
    t.equal((await failure(feed.verify(1, wrong))).code, 'ERR_SIGNATURE_INVALID')
    t.deepEqual(
      calls,
      [
        ['verify', 40, 64, key],
        ['verify', 32, 64, key]
      ],
      'the old rule is tried second'
    )

    const replica = ddatabase<unknown>(memory(), pair.publicKey, { crypto })
    calls.length = 0
    await replica.put(0, 'a', await feed.proof(0))
    t.deepEqual(calls, [['verify', 40, 64, key]], 'put verifies')
    await replica.close()
    await feed.close()
  })
}

test('hooks: with crypto of its own the keys are what the application takes them for', async (t) => {
  const crypto: CryptoHooks = {
    sign: (data, secretKey, callback) => callback(null, Buffer.alloc(64, data[0]! ^ secretKey[0]!)),
    verify: (data, signature, key, callback) => callback(null, signature[0] === (data[0]! ^ key[0]!))
  }
  const options = { secretKey: Buffer.alloc(64, 5), crypto }
  const files = new MemoryFiles()
  const feed = ddatabase<unknown>(memory(files), Buffer.alloc(32, 5), options)
  await feed.append(['a', 'b', 'c'])
  const replica = ddatabase<unknown>(memory(), Buffer.alloc(32, 5), { crypto })
  await replica.put(1, 'b', await feed.proof(1))
  t.deepEqual(texts([await replica.get(1)]), ['b'])
  await replica.close()
  await feed.close()
  const again = ddatabase<unknown>(memory(files), { crypto })
  t.equal(await again.append('d'), 3, 'after reopening too')
  await again.close()
})

test('hooks: indexing leaves the data to the application', async (t) => {
  const files = new MemoryFiles()
  files.put('data', Buffer.from('abcdef'))
  const feed = await feedOf<unknown>(['ab', 'cdef'], { indexing: true }, files)
  t.deepEqual(String(files.read('data')), 'abcdef', 'append does not touch it')
  t.deepEqual(texts([await feed.get(0), await feed.get(1)]), ['ab', 'cdef'])
  await feed.flush()
  await feed.clear(0, 2)
  t.deepEqual([feed.has(0), feed.has(1)], [false, false])
  t.equal(String(files.read('data')), 'abcdef', 'nor does clear')
  await feed.close()

  const fresh = new MemoryFiles()
  const another = await feedOf<unknown>(['ab'], { indexing: true }, fresh)
  await another.flush()
  t.equal(fresh.read('data'), null, 'no file is made')
  t.equal((await failure(another.get(0))).code, 'ERR_STORAGE', 'a block that was not written')
  await another.close()
})

test('hooks: noiseKeyPair', async (t) => {
  const pair = { publicKey: Buffer.alloc(32, 1), secretKey: Buffer.alloc(32, 2) }
  const feed = ddatabase(memory(), { noiseKeyPair: pair })
  t.equal(feed.noiseKeyPair, pair)
  const [one, two] = [ddatabase(memory()), ddatabase(memory())]
  t.deepEqual([one.noiseKeyPair.publicKey.byteLength, one.noiseKeyPair.secretKey.byteLength], [32, 32])
  t.equal(one.noiseKeyPair, one.noiseKeyPair, 'one for the life of the feed')
  t.notDeepEqual(one.noiseKeyPair.publicKey, two.noiseKeyPair.publicKey)
  await Promise.all([feed.close(), one.close(), two.close()])
})
