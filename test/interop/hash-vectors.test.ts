/** The vectors of hashes, keys, signatures, proofs and seeks, against the crypto files and against a running feed. */
import test from 'tape'
import { capability, remoteCapability } from '../../src/crypto/capability.ts'
import { leafHash, parentHash, signable, treeHash } from '../../src/crypto/hash.ts'
import { discoveryKey, keyPair, noiseKeyPair, sign, verify } from '../../src/crypto/keys.ts'
import { DDATABASE, HYPERCORE } from '../../src/dialect.ts'
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import type { FeedFace, Node, Proof } from '../helpers/feed-face.ts'
import { vector } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { ours } from '../helpers/ours.ts'
import type { VectorNode } from '../helpers/vectors.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bytes = (text: string) => Buffer.from(text, 'hex')
const node = ({ index, size, hash }: VectorNode): Node => ({ index, size, hash: bytes(hash) })
const plain = ({ index, size, hash }: Node): VectorNode => ({ index, size, hash: hex(hash) })

interface CryptoVectors {
  keyPair: { seed: string; publicKey: string; secretKey: string }
  noiseKeyPairsFromSeed: { seed: string; publicKey: string; secretKey: string }[]
  leaves: { data: string; length: number; hash: string }[]
  parents: { left: VectorNode; right: VectorNode; hash: string; sameWhenArgumentsSwapped?: boolean }[]
  emptyTreeHash: string
  emptySignable: string
  letters: {
    append: string
    newNodes: VectorNode[]
    length: number
    rootIndexes: number[]
    treeHash: string
    signable: string
    signature: string
    legacySignature: string
  }[]
  discoveryKeys: { key: string; ddatabase: string; hypercore: string }[]
  capabilities: {
    key: string
    splitTx: string
    splitRx: string
    ddatabase: { capability: string; remoteCapability: string }
    hypercore: { capability: string; remoteCapability: string }
  }[]
}

const vectors = vector<CryptoVectors>('crypto.json')
const pair = keyPair(bytes(vectors.keyPair.seed))
const open = ours()

/** A feed of the key of the vectors. */
function vectorFeed(): FeedFace {
  return open(new MemoryFiles().factory(), pair.publicKey, { secretKey: pair.secretKey })
}

test('vectors: keys', (t) => {
  t.equal(hex(pair.publicKey), vectors.keyPair.publicKey, 'public key of a seed')
  t.equal(hex(pair.secretKey), vectors.keyPair.secretKey, 'secret key of a seed')
  for (const expected of vectors.noiseKeyPairsFromSeed) {
    const noise = noiseKeyPair(bytes(expected.seed))
    t.equal(hex(noise.publicKey), expected.publicKey, 'public key of a stream')
    t.equal(hex(noise.secretKey), expected.secretKey, 'secret key of a stream')
  }
  const statics = [ddatabase, hypercore] as unknown as { discoveryKey(key: Uint8Array): Uint8Array }[]
  for (const expected of vectors.discoveryKeys) {
    const key = bytes(expected.key)
    t.equal(hex(discoveryKey(key, DDATABASE)), expected.ddatabase, 'discovery key, ddatabase')
    t.equal(hex(discoveryKey(key, HYPERCORE)), expected.hypercore, 'discovery key, hypercore')
    t.equal(hex(statics[0]!.discoveryKey(key)), expected.ddatabase, 'the static method of the main entry')
    t.equal(
      hex(statics[1]!.discoveryKey(key)),
      expected.hypercore,
      'the static method of ddatabase/hypercore'
    )
  }
  for (const expected of vectors.capabilities) {
    const split = { tx: bytes(expected.splitTx), rx: bytes(expected.splitRx) }
    for (const dialect of [DDATABASE, HYPERCORE]) {
      const { capability: own, remoteCapability: remote } = expected[dialect.name]
      t.equal(hex(capability(bytes(expected.key), split, dialect)), own, `capability, ${dialect.name}`)
      t.equal(
        hex(remoteCapability(bytes(expected.key), split, dialect)),
        remote,
        `the other side's, ${dialect.name}`
      )
    }
  }
  t.end()
})

test('vectors: hashes', (t) => {
  for (const { data, length, hash } of vectors.leaves) {
    t.equal(bytes(data).byteLength, length)
    t.equal(hex(leafHash(bytes(data))), hash, `leaf of ${length} bytes`)
  }
  for (const { left, right, hash } of vectors.parents) {
    t.equal(hex(parentHash(node(left), node(right))), hash, `parent of ${left.index} and ${right.index}`)
    t.equal(hex(parentHash(node(right), node(left))), hash, 'in either order')
  }
  t.equal(hex(treeHash([])), vectors.emptyTreeHash, 'tree hash of nothing')
  t.equal(hex(signable(treeHash([]), 0)), vectors.emptySignable, 'signable of nothing')
  t.end()
})

test('vectors: a feed that grows letter by letter', async (t) => {
  const feed = vectorFeed()
  const nodes = new Map<number, Node>()
  for (const letter of vectors.letters) {
    await feed.append(bytes(letter.append))
    for (const added of letter.newNodes) nodes.set(added.index, node(added))
    const roots = letter.rootIndexes.map((index) => nodes.get(index)!)
    const message = signable(treeHash(roots), letter.length)
    t.equal(hex(treeHash(roots)), letter.treeHash, `tree hash of ${letter.length}`)
    t.equal(hex(message), letter.signable, 'signable')
    t.equal(hex(sign(message, pair.secretKey)), letter.signature, 'signature')
    t.ok(verify(message, bytes(letter.signature), pair.publicKey), 'it verifies')
    t.equal(hex(sign(treeHash(roots), pair.secretKey)), letter.legacySignature, 'signature by the old rule')

    const index = letter.length - 1
    t.deepEqual((await feed.rootHashes(index)).map(plain), roots.map(plain), 'roots of the feed')
    const stored = await feed.signature(index)
    t.deepEqual([stored.index, hex(stored.signature)], [index, letter.signature], 'signature of the feed')
    t.equal(await feed.verify(index, bytes(letter.signature)), true, 'the feed verifies it')
    t.equal(await feed.verify(index, bytes(letter.legacySignature)), true, 'and one by the old rule')
  }
  await feed.close()
})

interface ProofVectors {
  key: string
  batches: string[][]
  proofs: { index: number; opts: object; proof: { nodes: VectorNode[]; signature: string | null } }[]
  signatures: { asked: number; index: number; signature: string }[]
  rootHashes: { index: number; roots: VectorNode[] }[]
  seeks: { bytes: number; result: [number, number] }[]
  unevenFeed: {
    blocks: string[]
    byteLength: number
    seeks: { bytes: number; result: [number, number] }[]
    offsets: { index: number; byteOffset: number; size: number }[]
  }
}

const proofs = vector<ProofVectors>('proofs/feed-proofs.json')

test('vectors: proofs, signatures, roots and seeks of a feed', async (t) => {
  const feed = vectorFeed()
  for (const batch of proofs.batches) await feed.append(batch)
  t.equal(hex(feed.key), proofs.key, 'key')
  const blocks = proofs.batches.flat()
  for (const { index, opts, proof } of proofs.proofs) {
    const given = await feed.proof(index, opts)
    const shown = {
      nodes: given.nodes.map(plain),
      signature: given.signature === null ? null : hex(given.signature)
    }
    t.deepEqual(shown, proof, `proof of ${index} with ${JSON.stringify(opts)}`)
    if (Object.keys(opts).some((option) => option !== 'hash')) continue
    // The vector's own proof, as it would arrive from somewhere else.
    const replica = open(new MemoryFiles().factory(), feed.key, { sparse: true })
    const arrived: Proof = {
      nodes: proof.nodes.map(node),
      signature: proof.signature === null ? null : bytes(proof.signature)
    }
    await replica.put(index, 'hash' in opts ? null : blocks[index], arrived)
    t.equal(replica.length, blocks.length, 'it is accepted')
    await replica.close()
  }
  for (const { asked, index, signature } of proofs.signatures) {
    const given = await feed.signature(asked)
    t.deepEqual([given.index, hex(given.signature)], [index, signature], `signature(${asked})`)
    t.equal(await feed.verify(index, bytes(signature)), true, 'it verifies')
  }
  for (const { index, roots } of proofs.rootHashes) {
    t.deepEqual((await feed.rootHashes(index)).map(plain), roots, `rootHashes(${index})`)
  }
  for (const seek of proofs.seeks)
    t.deepEqual(await feed.seek(seek.bytes), seek.result, `seek(${seek.bytes})`)
  await feed.close()
})

test('vectors: blocks of different and no length', async (t) => {
  const { blocks, byteLength, seeks, offsets } = proofs.unevenFeed
  for (const style of ['promise', 'callback'] as const) {
    const feed = ours(() => style)(new MemoryFiles().factory())
    await feed.append(blocks)
    t.equal(feed.byteLength, byteLength, 'byteLength')
    for (const seek of seeks) t.deepEqual(await feed.seek(seek.bytes), seek.result, `seek(${seek.bytes})`)
    const storage = feed.feed._storage as {
      dataOffset(
        index: number,
        nodes: unknown[],
        callback: (error: Error | null, offset: number, size: number) => void
      ): void
    }
    for (const { index, byteOffset, size } of offsets) {
      const answer = await new Promise((resolve, reject) =>
        storage.dataOffset(index, [], (error, offset, length) =>
          error ? reject(error) : resolve([offset, length])
        )
      )
      t.deepEqual(answer, [byteOffset, size], `offset and size of block ${index}`)
    }
    await feed.close()
  }
})
