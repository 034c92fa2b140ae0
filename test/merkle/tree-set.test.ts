import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as flat from 'flat-tree'
import test from 'tape'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import { MemoryBits, type ProofSelection, TreeSet } from '../../src/merkle/tree-set.ts'
import { setClimbing, type TreeBitStore } from '../../src/util/climbing.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'

interface PublishedTree {
  readonly bitfield: { readonly length: number; get(bit: number): boolean }
  set(node: number): boolean
  get(node: number): boolean
  blocks(): number
  roots(): number[]
  verifiedBy(node: number): number
  truncate(treeLength: number): void
  digest(node: number): number
  proof(
    node: number,
    options: { digest?: number; hash?: boolean; tree?: PublishedTree }
  ): ProofSelection | null
}
const publishedTree = createRequire(import.meta.url)(
  'ddatabase-published/lib/tree-index.js'
) as () => PublishedTree

interface State {
  holderSet?: number[]
  requesterSet?: number[]
  holderFullBlocks?: number
  copied?: { index: number; digest: number; nodes: number[]; verifiedBy: number }[]
  holderHas?: number[]
  requesterHas: number[]
  holderBlocks: number
  holderRoots: number[]
  holderVerifiedBy: number[]
  requesterBlocks: number
  cases: {
    index: number
    digest: number
    proof: ProofSelection | null
    hashProof: ProofSelection | null
    proofNoDigest: ProofSelection | null
  }[]
}

const SEED = seedFromEnvironment(404)
const STORES: [name: string, make: () => TreeBitStore][] = [
  ['pages', () => new TreeBits(new Pages(PAGE_SIZE))],
  ['a stage', () => new TreeBits(new Pages(PAGE_SIZE).stage())],
  ['memory', () => new MemoryBits()]
]

const { states } = JSON.parse(
  readFileSync(new URL('../vectors/proofs/tree-index.json', import.meta.url), 'utf8')
) as { states: State[] }

for (const [store, make] of STORES) {
  test(`tree set: vectors, over ${store}`, (t) => {
    for (const [number, state] of states.entries()) {
      const holder = new TreeSet(make())
      for (const node of state.holderSet ?? []) holder.set(node)
      for (let block = 0; block < (state.holderFullBlocks ?? 0); block++) holder.set(2 * block)
      const requester = new TreeSet(make())
      for (const node of state.requesterSet ?? []) requester.set(node)
      for (const { index, digest, nodes, verifiedBy } of state.copied ?? []) {
        t.equal(requester.digest(index), digest, `state ${number}: digest while copying ${index}`)
        t.deepEqual(
          holder.proof(index, { digest }),
          { nodes, verifiedBy },
          `state ${number}: copying ${index}`
        )
        for (const node of nodes) requester.set(node)
        requester.set(index)
      }

      if (state.holderHas !== undefined)
        t.deepEqual(members(holder), state.holderHas, `state ${number}: holder`)
      t.deepEqual(members(requester), state.requesterHas, `state ${number}: requester`)
      t.equal(holder.blocks(), state.holderBlocks, `state ${number}: blocks`)
      t.deepEqual(holder.roots(), state.holderRoots, `state ${number}: roots`)
      t.equal(requester.blocks(), state.requesterBlocks, `state ${number}: requester's blocks`)
      t.equal(state.cases.length, state.holderVerifiedBy.length)
      for (const [i, { index, digest, ...expected }] of state.cases.entries()) {
        t.equal(holder.verifiedBy(index), state.holderVerifiedBy[i], `state ${number}: verifiedBy ${index}`)
        t.equal(requester.digest(index), digest, `state ${number}: digest ${index}`)
        const computed = {
          proof: holder.proof(index, { digest }),
          hashProof: holder.proof(index, { digest, hash: true }),
          proofNoDigest: holder.proof(index)
        }
        t.deepEqual(computed, expected, `state ${number}: proofs of ${index}`)
      }
    }
    t.end()
  })

  test(`tree set: random sets over ${store}, as the published one`, (t) => {
    const random = new SeededRandom(SEED)
    for (let round = 0; round < 120; round++) {
      const size = random.pick([8, 60, 700])
      const [ours, theirs] = randomPair(random, make, size)
      const [oursAsking, theirsAsking] = randomPair(random, make, size)
      const remote = new TreeSet(make())
      const theirRemote = publishedTree()
      if (ours.blocks() !== theirs.blocks()) return t.end(`round ${round}: blocks`)
      if (`${ours.roots()}` !== `${theirs.roots()}`) return t.end(`round ${round}: roots`)
      for (let step = 0; step < 30; step++) {
        const node = random.below(2 * size + 4)
        if (ours.has(node) !== theirs.get(node)) return t.end(`round ${round}: has ${node}`)
        if (ours.verifiedBy(node) !== theirs.verifiedBy(node))
          return t.end(`round ${round}: verifiedBy ${node}`)
        const digest = oursAsking.digest(node)
        if (digest !== theirsAsking.digest(node)) return t.end(`round ${round}: digest ${node}`)
        // The digest of the requester, or any other; with a remote that remembers, or without.
        const options = { digest: random.pick([digest, random.below(4000), 0]), hash: random.chance(0.3) }
        const remembers = random.chance(0.5)
        const proof = ours.proof(node, remembers ? { ...options, tree: remote } : options)
        let theirProof = theirs.proof(node, remembers ? { ...options, tree: theirRemote } : options)
        if (theirProof !== null && theirProof.verifiedBy > 0) {
          let top = node
          while (ours.has(flat.sibling(top))) top = flat.parent(top)
          // If that is no root, a signature says nothing of the node. Theirs is sent all the same.
          const isRoot = flat.fullRoots(theirProof.verifiedBy).includes(top)
          if (!isRoot) theirProof = { ...theirProof, verifiedBy: -1 }
        }
        if (JSON.stringify(proof) !== JSON.stringify(theirProof)) {
          return t.end(`round ${round}: proof of ${node} with ${JSON.stringify(options)}`)
        }
      }
      for (let node = 0; node < 2 * size + 4; node++) {
        if (remote.has(node) !== theirRemote.get(node)) return t.end(`round ${round}: remote ${node}`)
      }

      const treeLength = 2 * random.below(size + 2)
      ours.truncate(treeLength)
      theirs.truncate(treeLength)
      if (ours.blocks() !== theirs.blocks()) return t.end(`round ${round}: blocks after truncating`)
      for (let node = 0; node < 2 * size + 4; node++) {
        if (ours.has(node) !== theirs.get(node))
          return t.end(`round ${round}: ${node} after truncate ${treeLength}`)
      }
    }
    t.pass('equal')
    t.end()
  })

  test(`tree set: truncated equals one that never grew, over ${store}`, (t) => {
    const random = new SeededRandom(SEED + 1)
    for (let round = 0; round < 60; round++) {
      const length = random.below(random.pick([40, 3000]))
      const rest = random.below(length + 1)
      const long = new TreeSet(make())
      const short = new TreeSet(make())
      for (let block = 0; block < length; block++) long.set(2 * block)
      for (let block = 0; block < rest; block++) short.set(2 * block)
      long.truncate(2 * rest)
      if (long.blocks() !== rest) return t.end(`round ${round}: ${long.blocks()}, expected ${rest}`)
      for (let node = 0; node < 2 * length + 2; node++) {
        if (long.has(node) !== short.has(node))
          return t.end(`round ${round}: node ${node} of ${length} cut to ${rest}`)
      }
    }
    t.pass('equal')
    t.end()
  })
}

test('tree set: against the definition', (t) => {
  const set = new TreeSet(new MemoryBits())
  for (let length = 1; length <= 300; length++) {
    set.set(2 * (length - 1))
    const complete = (node: number): boolean => flat.rightSpan(node) <= 2 * length - 2
    for (let node = 0; node < 2 * length + 20; node++) {
      if (set.has(node) !== complete(node)) return t.end(`node ${node} at length ${length}`)
    }
    if (set.blocks() !== length) return t.end(`length ${length}`)
    for (const node of [0, length - 1, 2 * length - 2]) {
      if (set.verifiedBy(node) !== (complete(node) ? 2 * length : 0))
        return t.end(`verifiedBy ${node} at ${length}`)
    }
  }
  t.pass('complete nodes are known, blocks and verifiedBy give the length')
  t.end()
})

test('tree set: what a digest asks for and what a proof brings make the block provable', (t) => {
  const random = new SeededRandom(SEED + 2)
  for (let round = 0; round < 150; round++) {
    const length = 1 + random.below(random.pick([5, 40, 2000]))
    const holder = new TreeSet(new MemoryBits())
    for (let block = 0; block < length; block++) holder.set(2 * block)
    const replica = new TreeSet(new MemoryBits())
    const remote = new TreeSet(new MemoryBits())
    for (let step = 0; step < 10; step++) {
      const leaf = 2 * random.below(length)
      const known = replica.has(leaf)
      const proof = holder.proof(leaf, { digest: replica.digest(leaf), tree: remote })!
      if (known && proof.nodes.length > 0) return t.end(`round ${round}: ${proof.nodes} for a known leaf`)
      // Hash upward with what was sent and what is here, to a node that is here or to the root.
      const nodes = [...proof.nodes]
      let top = leaf
      const path = [leaf]
      while (!replica.has(top)) {
        const sibling = flat.sibling(top)
        if (nodes[0] === sibling) path.push(nodes.shift()!)
        else if (!replica.has(sibling)) break
        top = flat.parent(top)
        path.push(top)
      }
      if (replica.has(top)) {
        if (nodes.length > 0) return t.end(`round ${round}: ${nodes} left over`)
      } else {
        if (proof.verifiedBy !== 2 * length) return t.end(`round ${round}: verified by ${proof.verifiedBy}`)
        const missing = flat.fullRoots(2 * length).filter((root) => root !== top && !nodes.includes(root))
        if (missing.some((root) => !replica.has(root)))
          return t.end(`round ${round}: roots ${missing} missing`)
        path.push(...nodes)
      }
      for (const node of path) replica.set(node)
    }
    if (replica.blocks() !== length)
      return t.end(`round ${round}: the replica sees ${replica.blocks()} of ${length}`)
  }
  t.pass('always')
  t.end()
})

test('tree set: large trees', (t) => {
  // 2^33 + 5 blocks, of which the roots and one path are known.
  const length = 2 ** 33 + 5
  const set = new TreeSet(new TreeBits(new Pages(PAGE_SIZE)))
  const leaf = 2 * (2 ** 32 + 123456)
  let node = leaf
  for (let level = 0; level < 33; level++) {
    set.set(flat.sibling(node))
    node = flat.parent(node)
  }
  set.set(leaf)
  for (const root of flat.fullRoots(2 * length)) set.set(root)
  t.equal(set.blocks(), length)
  t.equal(set.verifiedBy(leaf), 2 * length)
  const proof = set.proof(leaf)!
  t.equal(proof.nodes.length, 33 + 2, 'siblings and the other roots')
  t.equal(proof.verifiedBy, 2 * length)

  const replica = new TreeSet(new MemoryBits())
  for (const root of flat.fullRoots(2 * length)) replica.set(root)
  t.equal(replica.digest(leaf), 2 ** 34 + 1, 'only the root is known')
  t.equal(set.proof(leaf, { digest: 2 ** 34 + 1 })!.nodes.length, 33, 'then the roots are left out')
  t.end()
})

test('tree set: hostile indexes and digests end quickly, without throwing', (t) => {
  const random = new SeededRandom(SEED + 3)
  const set = new TreeSet(new MemoryBits())
  for (let block = 0; block < 1000; block++) set.set(2 * block)
  const MAX = Number.MAX_SAFE_INTEGER
  const indexes = [
    -1,
    -2,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    2 ** 60,
    1e300,
    MAX,
    MAX - 1,
    2 ** 52 - 1
  ]
  for (const index of indexes) {
    t.equal(set.has(index), false, `has ${index}`)
    t.equal(set.verifiedBy(index), 0, `verifiedBy ${index}`)
    t.equal(set.proof(index, { digest: 6 }), null, `proof of ${index}`)
    t.ok(Number.isSafeInteger(set.digest(index)), `digest of ${index}`)
  }
  const odd = [MAX, MAX - 1, 2 ** 52, 2 ** 52 + 1, 2 ** 53 - 2, 2 ** 31, 2 ** 32 - 1, 2 ** 32 + 1, 3, 2]
  for (let i = 0; i < 300; i++) odd.push(Math.floor(random.next() * MAX))
  const remote = new TreeSet(new MemoryBits())
  let wrong = 0
  for (const digest of [...odd, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    const proof = set.proof(2 * random.below(1000), { digest, tree: remote, hash: random.chance(0.5) })
    if (proof === null || proof.nodes.some((node) => !set.has(node))) wrong++
  }
  t.equal(wrong, 0, 'a proof of nodes we have for every digest')
  let foreign = 0
  for (let node = 0; node < 5000; node++) if (remote.has(node) && !set.has(node)) foreign++
  t.equal(foreign, 0, 'a digest cannot claim nodes that do not exist')
  t.deepEqual(set.proof(4, { digest: 2 ** 60 }), set.proof(4), 'no safe integer counts as no digest')

  // Even if such nodes were known: a bitfield file can claim anything.
  const huge = new TreeSet(new MemoryBits())
  for (const node of [MAX, MAX - 1, 2 ** 52 - 1, 2 ** 52, 2 ** 53 - 4, 0]) {
    huge.set(node)
    huge.verifiedBy(node)
    huge.digest(node)
    for (const digest of odd) huge.proof(node, { digest, tree: huge })
  }
  huge.blocks()
  huge.roots()
  t.pass('nor do nodes at the end of the numbers')

  for (const index of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    t.throws(() => set.set(index), { code: 'ERR_OUT_OF_RANGE' }, `set ${index}`)
    t.throws(() => set.truncate(index), { code: 'ERR_OUT_OF_RANGE' }, `truncate ${index}`)
  }
  t.throws(() => set.truncate(3), { code: 'ERR_OUT_OF_RANGE' }, 'truncate to an odd length')
  t.end()
})

test('tree bits: setAppended as climbing leaf by leaf, whatever was set before', (t) => {
  const random = new SeededRandom(SEED + 4)
  let quick = 0
  for (let round = 0; round < 240; round++) {
    const size = random.pick([20, 300, 300, 9000])
    const fast = new TreeBits(new Pages(PAGE_SIZE))
    const plain = new TreeBits(new Pages(PAGE_SIZE))
    const length = random.below(size)
    fast.setAppended(0, length)
    for (let block = 0; block < length; block++) setClimbing(plain, 2 * block)
    const next = length + random.below(size)
    // Stray bits, as left behind by a crash or a foreign writer, in two of three rounds: anywhere, and where
    // climbing looks.
    for (let stray = round % 3 === 0 ? 0 : 1 + random.below(3); stray > 0; stray--) {
      const roots = flat.fullRoots(2 * random.pick([length, next]))
      const near = roots.length === 0 ? 0 : random.pick(roots)
      const node = random.pick([
        near,
        flat.parent(near),
        flat.sibling(near),
        random.below(2 * size),
        2 * length + random.below(20)
      ])
      const value = random.chance(0.7)
      fast.set(node, value)
      plain.set(node, value)
    }
    if (round % 3 === 0) quick++
    fast.setAppended(length, next)
    for (let block = length; block < next; block++) setClimbing(plain, 2 * block)
    if (fast.length !== plain.length) return t.end(`round ${round}: length`)
    for (let node = 0; node < 4 * size + 40; node++) {
      if (fast.get(node) !== plain.get(node))
        return t.end(`round ${round}: ${length} to ${next}, node ${node}`)
    }
  }
  t.equal(quick, 80, 'rounds without stray bits')
  t.end()
})

test('tree bits: ranges', (t) => {
  const pages = new Pages(PAGE_SIZE)
  const bits = new TreeBits(pages)
  bits.set(20, true)
  bits.setRange(10, 5000, false)
  t.equal(bits.get(20), false, 'cleared')
  t.equal(bits.length, 24, 'clearing does not lengthen')
  bits.setRange(16380, 40000, true)
  t.equal(bits.length, 40000, 'setting does')
  t.equal(pages.length, 3)
  const wrong = [16379, 16380, 16384, 32767, 32768, 39999, 40000].filter(
    (node) => bits.get(node) !== (node >= 16380 && node < 40000)
  )
  t.deepEqual(wrong, [], 'over several pages')
  bits.setRange(39999, 60000, false)
  t.equal(bits.get(39998), true)
  t.equal(bits.get(39999), false)
  t.equal(pages.length, 4, 'clearing touches the pages of its range')
  t.equal(pages.read(3), null, 'without making them')
  t.equal(bits.length, 40000)
  t.end()
})

function randomPair(random: SeededRandom, make: () => TreeBitStore, size: number): [TreeSet, PublishedTree] {
  const ours = new TreeSet(make())
  const theirs = publishedTree()
  const full = random.chance(0.5) ? random.below(size) : 0
  for (let block = 0; block < full; block++) {
    ours.set(2 * block)
    theirs.set(2 * block)
  }
  for (let step = random.below(size / 2); step > 0; step--) {
    const node = random.below(2 * size)
    ours.set(node)
    theirs.set(node)
  }
  return [ours, theirs]
}

function members(set: TreeSet): number[] {
  const nodes: number[] = []
  for (let node = 0; node < 1024; node++) if (set.has(node)) nodes.push(node)
  return nodes
}
