/** Proofs of forks, and what only looks like one. */
import test from 'tape'
import { signable, treeHash } from '../../src/crypto/hash.ts'
import { keyPair, sign } from '../../src/crypto/keys.ts'
import {
  type ForkProof,
  MAX_BLOCK_SIZE,
  type SignedHead,
  type TreeNode,
  verifyFork
} from '../../src/index.ts'
import { forkFromText, forkToText } from '../../src/merkle/fork.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { OURS, OURS_HYPERCORE, replicating } from '../helpers/replication-subjects.ts'
import { Author, branch, checkIs, fetched, forksOf, meet, quiet } from './branches.ts'

const COMMON = branch('both', 0, 4)

/** A fork of two branches with so many blocks behind the common ones. */
async function forkOf(author: Author, here: number, there: number): Promise<ForkProof> {
  const first = await author.device(COMMON, branch('a', 4, here))
  const second = await author.device(COMMON, branch('b', 4, there))
  const forks = forksOf(first)
  await meet(first, second).end
  return forks[0]!
}

/** A proof that shares nothing with another one. */
function copyOf(proof: ForkProof): ForkProof {
  return forkFromText(forkToText(proof))!
}

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = bytes[at]! ^ 1
}

/** The head of a feed, signed by an old version: the tree hash alone. */
async function legacySign(face: FeedFace, secretKey: Uint8Array): Promise<Uint8Array> {
  const index = face.length - 1
  const signature = sign(treeHash(await face.rootHashes(index)), secretKey)
  const { _storage } = face.feed as unknown as {
    _storage: { putSignature(index: number, signature: Uint8Array): Promise<void> }
  }
  await _storage.putSignature(index, signature)
  return signature
}

test('fork proofs: in both orders, as text, and with any blocks', async (t) => {
  for (const subject of [OURS, OURS_HYPERCORE]) {
    for (const [here, there] of [
      [1, 1],
      [1, 2],
      [3, 1],
      [4, 9],
      [60, 7],
      [61, 61]
    ] as const) {
      const author = new Author(t, subject)
      const proof = await forkOf(author, here, there)
      const [kept, other] = proof.heads
      t.ok(verifyFork(proof, author.key), `${subject.name}: ${here} and ${there}`)
      t.ok(verifyFork({ heads: [other, kept] }, author.key), 'the other way round')
      t.ok(verifyFork(forkFromText(forkToText(proof)), author.key), 'from text')
      t.deepEqual(forkToText(copyOf(proof)), forkToText(proof))
      t.notOk(verifyFork(proof, keyPair().publicKey), 'of another key')
      t.notOk(verifyFork({ heads: [kept, kept] }, author.key), 'the same head twice')
      await author.close()
    }
  }
})

test('fork proofs: nothing of one can be changed', async (t) => {
  const author = new Author(t, OURS)
  const proof = await forkOf(author, 9, 6)
  const { key } = author
  const wrong: string[] = []
  let tried = 0
  const attempt = (what: string, change: (head: SignedHead, proof: ForkProof) => void): void => {
    for (const side of [0, 1] as const) {
      const changed = copyOf(proof)
      change(changed.heads[side], changed)
      tried++
      if (verifyFork(changed, key)) wrong.push(`${what} of head ${side}`)
    }
  }
  // biome-ignore lint/suspicious/noExplicitAny: what no type allows
  const set = (head: any, name: string, value: unknown): void => {
    head[name] = value
  }
  for (const length of [
    0,
    1,
    -1,
    0.5,
    8,
    9,
    11,
    14,
    2 ** 52,
    2 ** 53,
    Number.NaN,
    '10',
    null,
    undefined,
    10n
  ]) {
    attempt(`length ${String(length)}`, (head) => {
      if (head.length === length) set(head, 'length', 0)
      else set(head, 'length', length)
    })
  }
  for (const at of [0, 31, 32, 63])
    attempt(`byte ${at} of the signature`, ({ signature }) => flip(signature, at))
  for (const value of [
    null,
    undefined,
    'x',
    5,
    new Uint8Array(63),
    new Uint8Array(65),
    new Uint8Array(64),
    []
  ]) {
    attempt(`another signature`, (head) => set(head, 'signature', value))
  }
  for (const list of ['roots', 'nodes'] as const) {
    for (const value of [null, undefined, 'x', 5, [], [null], [{}], [5], {}, new Array(1000).fill(null)]) {
      attempt(`other ${list}`, (head) => set(head, list, value))
    }
    for (let i = 0; i < 4; i++) {
      const has = (head: SignedHead): TreeNode => head[list][i] ?? head[list][0]!
      for (const at of [0, 31]) attempt(`byte ${at} of ${list}[${i}]`, (head) => flip(has(head).hash, at))
      for (const size of [-1, 0.5, 2 ** 53, Number.NaN, '5', null, MAX_BLOCK_SIZE]) {
        attempt(`size ${size} of ${list}[${i}]`, (head) => set(has(head), 'size', size))
      }
      for (const index of [-2, 0.5, 2 ** 53, Number.NaN, '4', null, 1000, 5]) {
        attempt(`index ${index} of ${list}[${i}]`, (head) => {
          if (has(head).index === index) set(has(head), 'index', 1)
          else set(has(head), 'index', index)
        })
      }
      attempt(`${list} without ${i}`, (head) => void head[list].splice(i < head[list].length ? i : 0, 1))
      attempt(`${list} with ${i} twice`, (head) => void head[list].splice(i, 0, has(head)))
    }
    attempt(`${list} the other way round`, (head) => {
      if (head[list].length > 1) head[list].reverse()
      else head[list].length = 0
    })
  }
  attempt('the signature of the other head', (head, { heads }) =>
    set(head, 'signature', heads.find((other) => other !== head)!.signature)
  )
  attempt('the nodes of the other head', (head, { heads }) =>
    set(head, 'nodes', heads.find((other) => other !== head)!.nodes)
  )
  t.deepEqual(wrong, [], `${tried} changes`)
  t.ok(verifyFork(proof, key), 'and the proof itself still holds')
  await author.close()
})

test('fork proofs: what is none is none, and throws nothing', async (t) => {
  const key = keyPair().publicKey
  const trap = new Proxy(
    {},
    {
      get() {
        throw new Error('hands off')
      }
    }
  )
  for (const value of [
    null,
    undefined,
    5,
    'x',
    [],
    {},
    { heads: null },
    { heads: [] },
    { heads: [1, 2] },
    trap
  ]) {
    t.equal(verifyFork(value, key), false)
  }
  t.equal(verifyFork({ heads: [trap, trap] }, key), false)
  for (const wrong of ['x', null, new Uint8Array(31)]) {
    t.throws(() => verifyFork({}, wrong as never), /key should/)
  }
})

test('fork proofs: a beginning is no fork, whatever is claimed', async (t) => {
  const author = new Author(t, OURS)
  const feed = await author.device(COMMON, branch('a', 4, 3))
  const headOf = async (length: number, nodes: TreeNode[]): Promise<SignedHead> => ({
    length,
    roots: await feed.rootHashes(length - 1),
    signature: sign(signable(treeHash(await feed.rootHashes(length - 1)), length), author.pair.secretKey),
    nodes
  })
  const [root] = await feed.rootHashes(3)
  const pair = [await headOf(4, [root!]), await headOf(7, [root!])]
  t.notOk(verifyFork({ heads: pair }, author.key), 'the same node of both')
  // The size of a leaf is bound by the sum of a pair only: that it differs proves nothing.
  const [leaf, sibling, above] = (await feed.proof(0, { hash: true })).nodes as [TreeNode, TreeNode, TreeNode]
  const shifted = [{ ...leaf, size: leaf.size + 1 }, { ...sibling, size: sibling.size - 1 }, above]
  const heads = [await headOf(7, [leaf, sibling, above]), await headOf(7, shifted)]
  t.notOk(verifyFork({ heads }, author.key), 'sizes that were shifted between neighbours')
  await author.close()
})

test('fork proofs: signatures of old versions count, and are none by themselves', async (t) => {
  const author = new Author(t, OURS)
  const first = await author.device(COMMON, branch('a', 4, 3))
  const same = await author.device(COMMON, branch('a', 4, 3))
  const other = await author.device(COMMON, branch('b', 4, 3))
  const signature = await legacySign(same, author.pair.secretKey)
  t.notDeepEqual(Buffer.from(signature), Buffer.from((await first.signature(6)).signature))
  await legacySign(other, author.pair.secretKey)
  const copy = await author.replica()
  await fetched(first, copy)
  const forks = forksOf(copy)
  const connection = meet(copy, same)
  await quiet()
  t.equal(replicating(copy).peers.length, 1, 'another signature of the same roots is no fork')
  t.deepEqual(forks, [])
  await connection.cut()
  t.equal(await meet(copy, other).end, 'ERR_FORK', 'one of other roots is')
  t.ok(verifyFork(forks[0], author.key))
  await checkIs(t, copy, [...COMMON, ...branch('a', 4, 3)])
  await author.close()
})
