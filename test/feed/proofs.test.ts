/** signature, verify, rootHashes, proof, digest and put: arguments and edges (spec API §5). */
import test from 'tape'
import ddatabase from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { naiveRoots } from '../helpers/models.ts'
import { published } from '../helpers/published.ts'
import { failure, feedOf, memory, method, refusal, replicaOf, texts } from './feeds.ts'

const VALUES = [...'abcdefg']
const BLOCKS = VALUES.map((value) => Buffer.from(value))

test('proofs: signature', async (t) => {
  const feed = await feedOf<unknown>([])
  t.equal(
    await refusal(feed.signature()),
    'ERR_NO_SIGNATURE: No signature available for this index',
    'of an empty feed'
  )
  await feed.append(['a', 'b', 'c'])
  await feed.append('d')
  await feed.append(['e', 'f'])
  const at = async (index?: number) => (await feed.signature(index)).index
  t.deepEqual(await Promise.all([at(0), at(1), at(2), at(3), at(4), at(5), at()]), [2, 2, 2, 3, 5, 5, 5])
  for (const index of [-1, 6, 1000]) {
    t.equal(
      await refusal(feed.signature(index)),
      'ERR_NO_SIGNATURE: No signature available for this index',
      `${index}`
    )
  }
  const { signature } = await feed.signature(0)
  t.equal(await feed.verify(2, signature), true)
  t.equal(await refusal(feed.verify(3, signature)), 'ERR_SIGNATURE_INVALID: Signature verification failed')
  t.equal(await refusal(feed.verify(6, signature)), 'ERR_ROOTS_MISSING: Missing tree roots needed for verify')
  for (const wrong of [signature.subarray(1), Buffer.concat([signature, Buffer.alloc(1)]), Buffer.alloc(0)]) {
    t.equal((await failure(feed.verify(2, wrong))).code, 'ERR_SIGNATURE_INVALID', `${wrong.byteLength} bytes`)
  }
  t.equal((await failure(feed.verify(2, 'text' as never))).code, 'ERR_INVALID_ARG_TYPE')
  await feed.close()
})

test('proofs: a signature out of range is refused before the call returns, if it has a callback', async (t) => {
  for (const [values, ...indexes] of [[[]], [[], 0], [['a', 'b'], -1], [['a', 'b'], 2]] as [
    string[],
    number?
  ][]) {
    const feed = await feedOf<unknown>(values)
    const told: unknown[] = []
    const signature = method(feed, 'signature')
    t.equal(
      signature(...indexes, (error: { code: string }) => told.push(error.code)),
      undefined
    )
    t.deepEqual(told, ['ERR_NO_SIGNATURE'], `${indexes} of ${values.length}`)
    const theirs = published(new MemoryFiles().factory())
    await theirs.ready()
    if (values.length > 0) await theirs.append(values)
    const heard: unknown[] = []
    method(theirs.feed, 'signature')(...indexes, (error: Error) => heard.push(error.message))
    t.deepEqual(heard, ['No signature available for this index'], 'as the original')
    await Promise.all([feed.close(), theirs.close()])
  }
  const opening = ddatabase<unknown>(memory())
  const told: unknown[] = []
  const answered = new Promise<void>((resolve) => {
    opening.signature(7, (error) => {
      told.push((error as { code?: unknown }).code)
      resolve()
    })
  })
  t.deepEqual(told, [], 'not before it is known how long the feed is')
  await answered
  t.deepEqual(told, ['ERR_NO_SIGNATURE'])
  await opening.close()
  t.equal(await refusal(opening.signature(7)), 'ERR_FEED_CLOSED: Feed is closed')
})

test('proofs: rootHashes', async (t) => {
  const feed = await feedOf(VALUES)
  for (let index = 0; index < 7; index++) {
    const roots = (await feed.rootHashes(index)).map(({ index: at, size, hash }) => ({
      index: at,
      size,
      hash: Buffer.from(hash)
    }))
    const expected = naiveRoots(BLOCKS, index + 1).map(({ index: at, size, hash }) => ({
      index: at,
      size,
      hash: Buffer.from(hash)
    }))
    t.deepEqual(roots, expected, `of the first ${index + 1}`)
  }
  t.equal((await failure(feed.rootHashes(7))).code, 'ERR_ROOTS_MISSING')
  t.equal((await failure(feed.rootHashes(-1))).code, 'ERR_OUT_OF_RANGE')
  const replica = await replicaOf(feed)
  t.equal((await failure(replica.rootHashes(0))).code, 'ERR_ROOTS_MISSING', 'of a replica that knows nothing')
  await replica.close()
  await feed.close()
})

test('proofs: proof and digest, as the original', async (t) => {
  const files = new MemoryFiles()
  const feed = await feedOf(VALUES, {}, files)
  const original = published(files.clone().factory())
  await original.ready()
  const same = ({
    nodes,
    signature
  }: {
    nodes: readonly { index: number; size: number; hash: Uint8Array }[]
    signature: Uint8Array | null
  }) => ({
    nodes: nodes.map(({ index, size, hash }) => [index, size, Buffer.from(hash).toString('hex')]),
    signature: signature && Buffer.from(signature).toString('hex')
  })
  for (let index = 0; index < 7; index++) {
    t.equal(feed.digest(index), original.digest(index), `digest of ${index}`)
    for (const options of [
      {},
      { digest: 1 },
      { digest: 2 },
      { digest: 6 },
      { digest: feed.digest(index) },
      { hash: true },
      { digest: 4, hash: true }
    ]) {
      const given = Object.freeze(options)
      t.deepEqual(
        same(await feed.proof(index, given)),
        same(await original.proof(index, given)),
        `block ${index} ${JSON.stringify(options)}`
      )
    }
  }
  t.equal(feed.digest(100), 0, 'of what is unknown')
  t.equal(await refusal(feed.proof(7)), 'ERR_NO_PROOF: No proof available for this index')
  t.equal((await failure(feed.proof(0, { digest: -1 }))).code, 'ERR_OUT_OF_RANGE')
  await original.close()
  await feed.close()
})

test('proofs: put consumes the nodes, whether it succeeds or not', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  const proof = await source.proof(2)
  const count = proof.nodes.length
  t.ok(count > 0)
  const wrong = { nodes: [...proof.nodes], signature: proof.signature }
  t.equal((await failure(replica.put(2, Buffer.from('x'), wrong))).code, 'ERR_PROOF_SIGNATURE')
  t.equal(wrong.nodes.length, 0)
  const { nodes } = proof
  await replica.put(2, Buffer.from('c'), proof)
  t.equal(proof.nodes, nodes)
  t.equal(nodes.length, 0)
  t.deepEqual(texts([await replica.get(2)]), ['c'])
  await Promise.all([source.close(), replica.close()])
})

test('proofs: with the digest or the tree of the other side', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  await replica.put(0, BLOCKS[0]!, await source.proof(0))
  const small = await source.proof(1, { digest: replica.digest(1) })
  t.deepEqual([small.nodes.length, small.signature], [0, null], 'nothing more is needed')
  await replica.put(1, BLOCKS[1]!, small)
  const byTree = await source.proof(2, { tree: replica.tree! })
  t.ok(byTree.nodes.length < (await source.proof(2)).nodes.length)
  await replica.put(2, BLOCKS[2]!, byTree)
  t.deepEqual(
    [0, 1, 2, 3].map((index) => replica.has(index)),
    [true, true, true, false]
  )
  await Promise.all([source.close(), replica.close()])
})

test('proofs: the hash of a block without the block', async (t) => {
  const source = await feedOf(VALUES)
  const replica = await replicaOf(source)
  await replica.put(3, null, await source.proof(3, { hash: true }))
  t.deepEqual([replica.length, replica.has(3), replica.downloaded()], [7, false, 0])
  t.ok(replica.tree!.get(6))
  await replica.put(3, BLOCKS[3]!, await source.proof(3, { digest: replica.digest(3) }))
  t.deepEqual(texts([await replica.get(3)]), ['d'])
  await Promise.all([source.close(), replica.close()])
})

test('proofs: the signature of known roots proves no block below them', async (t) => {
  const feed = await feedOf([])
  for (const block of BLOCKS.slice(0, 5)) await feed.append(block)
  const replica = await replicaOf(feed)
  await replica.put(4, await feed.get(4), await feed.proof(4))
  const { signature } = await feed.signature(3)
  const root = (await feed.rootHashes(3))[0]!
  // Where the sibling of block 3 is not known, and the root above both is.
  for (const nodes of [[], [root]]) {
    for (const value of [Buffer.alloc(0), Buffer.from('d'), Buffer.from('forged')]) {
      const { code } = await failure(replica.put(3, value, { nodes, signature }))
      t.equal(code, 'ERR_ROOTS_MISSING', `${value.byteLength} bytes, ${nodes.length} nodes`)
    }
  }
  t.deepEqual([replica.has(3), replica.downloaded()], [false, 1], 'nothing is stored')
  await replica.put(3, await feed.get(3), await feed.proof(3))
  t.deepEqual(await replica.get(3), Buffer.from('d'))
  await replica.close()
  await feed.close()
})
