/** Proofs that are wrong in every way one can think of: refused with a code, and nothing has changed. */
import assert from 'node:assert/strict'
import test from 'tape'
import { copyProof, type FeedFace, type Node, type Proof } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs, byteLengthOf } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'

const open = ours()
const BLOCKS = Array.from({ length: 11 }, (_, i) => Buffer.from(`block ${i}${'.'.repeat(i)}`))

async function source(): Promise<FeedFace> {
  const feed = open(new MemoryFiles().factory())
  await feed.append(BLOCKS.slice(0, 3))
  await feed.append(BLOCKS.slice(3))
  return feed
}

interface Lie {
  what: string
  index: number
  value: Buffer | null
  proof: unknown
}

const flipped = (bytes: Uint8Array, at: number) => {
  const out = Buffer.from(bytes)
  out[at]! ^= 1
  return out
}

/** Everything that can be wrong with a true claim. */
function lies(index: number, value: Buffer | null, proof: Proof): Lie[] {
  const out: Lie[] = []
  const add = (what: string, change: Partial<Record<keyof Lie, unknown>>) =>
    out.push({ what, index, value, proof: copyProof(proof), ...change } as Lie)
  const withNodes = (nodes: unknown[]) => ({ proof: { nodes, signature: proof.signature } })
  const replaced = (at: number, node: Partial<Record<keyof Node, unknown>>) =>
    withNodes(proof.nodes.map((old, i) => (i === at ? { ...plain(old), ...node } : old)))

  proof.nodes.forEach((node, i) => {
    const name = `node ${i} (tree index ${node.index})`
    for (const at of [0, 31])
      add(`${name}: byte ${at} of the hash`, replaced(i, { hash: flipped(node.hash, at) }))
    add(`${name}: hash of 31 bytes`, replaced(i, { hash: Buffer.from(node.hash.subarray(0, 31)) }))
    add(`${name}: hash of 33 bytes`, replaced(i, { hash: Buffer.concat([node.hash, Buffer.alloc(1)]) }))
    add(`${name}: no hash`, replaced(i, { hash: null }))
    for (const size of [node.size + 1, node.size - 1, 0, -1, 0.5, Number.NaN, 2 ** 53, '7', null]) {
      add(`${name}: size ${size}`, replaced(i, { size }))
    }
    for (const treeIndex of [
      node.index + 1,
      node.index + 2,
      node.index - 2,
      -1,
      0.5,
      2 ** 53,
      Number.NaN,
      '1',
      null
    ]) {
      add(`${name}: index ${treeIndex}`, replaced(i, { index: treeIndex }))
    }
    add(`${name} is missing`, withNodes(proof.nodes.filter((_, j) => j !== i)))
    add(`${name} twice`, withNodes(proof.nodes.flatMap((old, j) => (j === i ? [old, old] : [old]))))
    add(`${name} is null`, withNodes(proof.nodes.map((old, j) => (j === i ? null : old))))
    if (i > 0) {
      const swapped = [...proof.nodes]
      swapped.splice(i - 1, 2, node, proof.nodes[i - 1]!)
      add(`${name} before the one in front of it`, withNodes(swapped))
    }
  })
  const strange = { index: 64, hash: Buffer.alloc(32, 1), size: 3 }
  add('a strange node at the end', withNodes([...proof.nodes, strange]))
  add('a strange node in front', withNodes([strange, ...proof.nodes]))
  add('no nodes', withNodes([]))
  add('nodes is not a list', { proof: { nodes: 'nodes', signature: proof.signature } })
  add('no list of nodes', { proof: { signature: proof.signature } })
  add('proof is null', { proof: null })
  add('proof is a number', { proof: 5 })

  const signature = proof.signature!
  const signed = (other: unknown) => ({ proof: { nodes: [...proof.nodes], signature: other } })
  for (const at of [0, 31, 32, 63]) add(`byte ${at} of the signature`, signed(flipped(signature, at)))
  add('a signature of 63 bytes', signed(Buffer.from(signature.subarray(0, 63))))
  add('a signature of 65 bytes', signed(Buffer.concat([signature, Buffer.alloc(1)])))
  add('an empty signature', signed(Buffer.alloc(0)))
  add('a blank signature', signed(Buffer.alloc(64)))
  add('no signature', signed(null))
  add('a signature that is not bytes', signed('signature'))

  if (value !== null) {
    add('other data', { value: flipped(value, 0) })
    add('longer data', { value: Buffer.concat([value, Buffer.alloc(1)]) })
    add('shorter data', { value: value.subarray(0, value.length - 1) })
    add('empty data', { value: Buffer.alloc(0) })
    add('no data, and no hash instead', { value: null })
  } else add('data, where the proof brings the hash', { value: Buffer.from('x') })
  for (const other of [index + 1, index - 1, index + 100].filter((i) => i >= 0))
    add(`as block ${other}`, { index: other })
  return out
}

function plain(node: Node): Node {
  return { index: node.index, hash: node.hash, size: node.size }
}

/** What must not change. */
function stateOf(feed: FeedFace): unknown {
  return [feed.length, feed.byteLength, ...BLOCKS.map((_, i) => feed.has(i)), feed.has(100)]
}

for (const hashOnly of [false, true]) {
  for (const index of [0, 5, 10]) {
    test(`false proofs of ${hashOnly ? 'the hash of ' : ''}block ${index}`, async (t) => {
      const feed = await source()
      const files = new MemoryFiles()
      const replica = open(files.factory(), feed.key, { sparse: true })
      await replica.ready()
      const before = stateOf(replica)
      const value = hashOnly ? null : BLOCKS[index]!
      const all = lies(index, value, await feed.proof(index, { hash: hashOnly }))
      const wrong: string[] = []
      for (const lie of all) {
        const [answer] = await Promise.allSettled([replica.call('put', lie.index, lie.value, lie.proof)])
        if (answer.status === 'fulfilled') wrong.push(`${lie.what} was accepted`)
        else if (typeof answer.reason.code !== 'string') wrong.push(`${lie.what}: ${answer.reason.stack}`)
        assert.deepEqual(stateOf(replica), before, `nothing has changed after: ${lie.what}`)
      }
      t.deepEqual(wrong, [], `${all.length} lies, each refused with a code`)
      await completes(feed, replica)
      t.pass('and then the truth is accepted')
      await feed.close()
    })
  }
}

test('false proofs for a feed that knows a part already', async (t) => {
  const feed = await source()
  let refused = 0
  let harmless = 0
  for (const [index, hashOnly] of [
    [1, false],
    [4, false],
    [9, false],
    [2, true],
    [10, true]
  ] as const) {
    const value = hashOnly ? null : BLOCKS[index]!
    for (const lie of lies(index, value, await feed.proof(index, { hash: hashOnly }))) {
      const replica = open(new MemoryFiles().factory(), feed.key, { sparse: true })
      for (const i of [0, 5, 6]) await replica.put(i, BLOCKS[i], await feed.proof(i))
      await replica.put(3, null, await feed.proof(3, { hash: true }))
      const before = stateOf(replica)
      const [answer] = await Promise.allSettled([replica.call('put', lie.index, lie.value, lie.proof)])
      if (answer.status === 'rejected') {
        assert.equal(typeof answer.reason.code, 'string', `${lie.what}: ${answer.reason.stack}`)
        assert.deepEqual(stateOf(replica), before, `nothing has changed after: ${lie.what}`)
        refused++
      } else {
        // Nodes above the first trusted one are not needed, so they need not be looked at; but what counts is true.
        assert.ok(lie.index === index && (lie.value === null || lie.value.equals(BLOCKS[index]!)), lie.what)
        assert.equal(replica.length, BLOCKS.length, lie.what)
        assert.equal(replica.byteLength, byteLengthOf(BLOCKS), lie.what)
        harmless++
      }
      await completes(feed, replica)
    }
  }
  t.ok(refused > harmless, `${refused} lies refused, ${harmless} without effect`)
  await feed.close()
})

test('sizes shifted between two leaves that came without data', async (t) => {
  const feed = await source()
  // The parent binds only the sum of the two sizes (spec FORMAT quirk 9).
  for (const by of [1, -1, 7]) {
    const replica = open(new MemoryFiles().factory(), feed.key, { sparse: true })
    const proof = await feed.proof(4, { hash: true })
    const [leaf, sibling, ...rest] = proof.nodes.map(plain) as [Node, Node, ...Node[]]
    const shifted = [{ ...leaf, size: leaf.size + by }, { ...sibling, size: sibling.size - by }, ...rest]
    const [answer] = await Promise.allSettled([
      replica.put(4, null, { nodes: shifted, signature: proof.signature })
    ])
    if (answer.status === 'rejected') assert.equal(typeof answer.reason.code, 'string')
    await completes(feed, replica)
  }
  t.pass('the data sets them right')
  await feed.close()
})

test('proofs of another feed', async (t) => {
  const feed = await source()
  const other = await source()
  const replica = open(new MemoryFiles().factory(), feed.key, { sparse: true })
  await replica.ready()
  const before = stateOf(replica)
  for (let i = 0; i < BLOCKS.length; i++) {
    const [answer] = await Promise.allSettled([replica.put(i, BLOCKS[i], await other.proof(i))])
    assert.equal(answer.status, 'rejected', `block ${i}`)
    assert.deepEqual(stateOf(replica), before)
  }
  await completes(feed, replica)
  t.pass('refused')
  await feed.close()
  await other.close()
})

/** Every block can still be put, and then all is well. */
async function completes(feed: FeedFace, replica: FeedFace): Promise<void> {
  for (const i of [3, 4, 5, 10, 9, 0, 1, 2, 8, 7, 6]) await replica.put(i, BLOCKS[i], await feed.proof(i))
  for (let i = 0; i < BLOCKS.length; i++) assert.equal(replica.has(i), true, `has(${i})`)
  assert.equal(replica.byteLength, byteLengthOf(BLOCKS))
  for (let i = 0; i < BLOCKS.length; i++) {
    assert.deepEqual(
      Buffer.from((await replica.get(i, { wait: false })) as Uint8Array),
      BLOCKS[i],
      `block ${i}`
    )
  }
  assert.deepEqual({ ...(await replica.audit()) }, { valid: BLOCKS.length, invalid: 0 }, 'audit')
  await replica.close()
}

test('a static feed takes only what its key vouches for', async (t) => {
  const feed = open(new MemoryFiles().factory(), null, { live: false })
  await feed.append(BLOCKS)
  await feed.finalize()
  const replica = open(new MemoryFiles().factory(), feed.key, { sparse: true })
  await replica.ready()
  const proof = await feed.proof(4)
  t.equal(proof.signature, null, 'its proofs are not signed')
  const before = stateOf(replica)
  const signed = { nodes: [...proof.nodes], signature: Buffer.alloc(64, 1) }
  const missing = { nodes: proof.nodes.slice(1), signature: null }
  for (const [what, value, false_] of [
    ['a signature', BLOCKS[4], signed],
    ['a missing node', BLOCKS[4], missing],
    ['other data', BLOCKS[3], copyProof(proof)]
  ] as const) {
    const [answer] = await Promise.allSettled([replica.put(4, value, false_)])
    t.equal(answer.status === 'rejected' && typeof answer.reason.code, 'string', what)
    t.deepEqual(stateOf(replica), before, 'nothing has changed')
  }
  for (let i = 0; i < BLOCKS.length; i++) await replica.put(i, BLOCKS[i], await feed.proof(i))
  t.equal(replica.length, BLOCKS.length)
  for (let i = 0; i < BLOCKS.length; i++)
    assert.deepEqual(Buffer.from((await replica.get(i)) as Buffer), BLOCKS[i])
  await feed.close()
  await replica.close()
})

test('the source of the proofs is in order', async (t) => {
  const feed = await source()
  await assertFeedIs(feed, { blocks: BLOCKS }, (key) =>
    open(new MemoryFiles().factory(), key, { sparse: true })
  )
  t.pass('every true proof is accepted by an empty feed')
  await feed.close()
})
