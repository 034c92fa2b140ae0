/**
 * Checks a block as a reader with nothing but the key does, and keeps every step. All hashes are computed here, from the block up:
 * leaf `H(00 | size | block)`, parent `H(01 | size | left | right)`, tree `H(02 | hash | index | size | …)`, H being BLAKE2b-256.
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import flat from 'flat-tree'
import type { NodeInfo, ProofInfo } from '../messages.ts'
import { fromHex, join, toHex, uint64s } from './bytes.ts'

/** Something that goes into a step. */
export interface Input {
  label: string
  /** Hexadecimal, or a description of what is too long to be shown. */
  value: string
}

/** A step of a verification. */
export interface Step {
  kind: 'leaf' | 'given' | 'parent' | 'tree' | 'signature' | 'key'
  title: string
  inputs: Input[]
  /** The hash that was computed; null where nothing is. */
  result: string | null
  /** Tree indexes that it is about: what is computed first, then what it is computed from. */
  nodes: number[]
  /** Whether it holds; null where nothing is compared. */
  holds: boolean | null
}

/** The outcome of {@link verifySteps}. */
export interface Verification {
  steps: Step[]
  /** Tree indexes from the leaf to the root above it, … */
  path: number[]
  /** … of the nodes that came with the proof, … */
  given: number[]
  /** … and of all roots. */
  roots: number[]
  /** Hashes by tree index. */
  hashes: Map<number, string>
  /** Blocks of the feed that is signed. */
  length: number
  valid: boolean
}

/** Verifies a block. @param content - its bytes; null if they are not here: then the leaf's hash is taken from the proof */
export function verifySteps(proof: ProofInfo, content: Uint8Array | null): Verification {
  const steps: Step[] = []
  const hashes = new Map<number, string>()
  const remaining = [...proof.nodes]
  const given = remaining.map((node) => node.index)
  for (const node of remaining) hashes.set(node.index, node.hash)

  let top = content === null ? givenLeaf(proof, remaining, steps) : leafOf(proof, content, steps)
  hashes.set(top.index, top.hash)
  const path = [top.index]
  while (remaining[0]?.index === flat.sibling(top.index)) {
    top = parentOf(top, remaining.shift()!, steps)
    hashes.set(top.index, top.hash)
    path.push(top.index)
  }

  const roots = [...remaining, top].sort((a, b) => a.index - b.index)
  const length = (flat.rightSpan(roots.at(-1)!.index) + 2) / 2
  const expected = flat.fullRoots(2 * length)
  const complete = expected.length === roots.length && expected.every((index, i) => roots[i]!.index === index)
  const hash = blake2b(
    join(Uint8Array.of(2), ...roots.flatMap((root) => [fromHex(root.hash), uint64s(root.index, root.size)])),
    { dkLen: 32 }
  )
  steps.push({
    kind: 'tree',
    title: `Hash of the tree of ${length.toLocaleString('en')} blocks, from its ${roots.length === 1 ? 'only root' : `${roots.length} roots`}`,
    inputs: [
      { label: 'kind', value: '02' },
      ...roots.flatMap((root) => [
        { label: `hash of root ${root.index}`, value: root.hash },
        { label: `index and size (${root.size} bytes)`, value: toHex(uint64s(root.index, root.size)) }
      ])
    ],
    result: toHex(hash),
    nodes: roots.map((root) => root.index),
    holds: complete
  })
  const last = proof.signature === null ? keyStep(proof, hash) : signatureStep(proof, hash, length)
  steps.push(last)
  return {
    steps,
    path,
    given,
    roots: roots.map((root) => root.index),
    hashes,
    length,
    valid: steps.every((step) => step.holds !== false) && last.holds === true
  }
}

/** What there is to show of a feed of `length` blocks if nothing is proven. */
export function nothingProven(length: number): Verification {
  const roots = flat.fullRoots(2 * length)
  return { steps: [], path: [], given: [], roots, hashes: new Map(), length, valid: false }
}

function leafOf(proof: ProofInfo, content: Uint8Array, steps: Step[]): NodeInfo {
  const index = 2 * proof.block
  const size = content.byteLength
  const hash = toHex(blake2b(join(Uint8Array.of(0), uint64s(size), content), { dkLen: 32 }))
  steps.push({
    kind: 'leaf',
    title: `Leaf ${index}: hash of block ${proof.block}`,
    inputs: [
      { label: 'kind', value: '00' },
      { label: `size (${size} bytes)`, value: toHex(uint64s(size)) },
      {
        label: 'block',
        value: size <= 32 ? toHex(content) : `${toHex(content.subarray(0, 32))}… (${size} bytes)`
      }
    ],
    result: hash,
    nodes: [index],
    holds: null
  })
  return { index, hash, size }
}

function givenLeaf(proof: ProofInfo, remaining: NodeInfo[], steps: Step[]): NodeInfo {
  const leaf = remaining.shift()
  if (leaf === undefined || leaf.index !== 2 * proof.block)
    throw new Error('The hash of the block is missing')
  steps.push({
    kind: 'given',
    title: `Leaf ${leaf.index}: its hash is known, block ${proof.block} itself is not here`,
    inputs: [],
    result: leaf.hash,
    nodes: [leaf.index],
    holds: null
  })
  return leaf
}

function parentOf(node: NodeInfo, sibling: NodeInfo, steps: Step[]): NodeInfo {
  const [left, right] = node.index < sibling.index ? [node, sibling] : [sibling, node]
  const size = left.size + right.size
  const index = flat.parent(node.index)
  const hash = toHex(
    blake2b(join(Uint8Array.of(1), uint64s(size), fromHex(left.hash), fromHex(right.hash)), { dkLen: 32 })
  )
  const origin = (one: NodeInfo) => (one === node ? 'computed' : 'from the proof')
  steps.push({
    kind: 'parent',
    title: `Node ${index}: parent of ${left.index} and ${right.index}`,
    inputs: [
      { label: 'kind', value: '01' },
      { label: `size (${size} bytes)`, value: toHex(uint64s(size)) },
      { label: `left, node ${left.index}, ${origin(left)}`, value: left.hash },
      { label: `right, node ${right.index}, ${origin(right)}`, value: right.hash }
    ],
    result: hash,
    nodes: [index, left.index, right.index],
    holds: null
  })
  return { index, hash, size }
}

function signatureStep(proof: ProofInfo, hash: Uint8Array, length: number): Step {
  const message = join(hash, uint64s(length))
  const signature = fromHex(proof.signature!)
  const key = fromHex(proof.key)
  // Feeds from before version 9 signed the hash alone.
  const today = ed25519.verify(signature, message, key, { zip215: false })
  const holds = today || ed25519.verify(signature, hash, key, { zip215: false })
  return {
    kind: 'signature',
    title: holds ? 'The signature was made with the key of the feed' : 'The signature does not fit',
    inputs: [
      {
        label: holds && !today ? 'signed: hash of the tree' : 'signed: hash of the tree, length',
        value: toHex(holds && !today ? hash : message)
      },
      { label: 'signature (Ed25519)', value: proof.signature! },
      { label: 'key', value: proof.key }
    ],
    result: null,
    nodes: [],
    holds
  }
}

function keyStep(proof: ProofInfo, hash: Uint8Array): Step {
  const holds = toHex(hash) === proof.key
  return {
    kind: 'key',
    title: holds
      ? 'The key of this static feed is the hash of its tree'
      : 'The key is not the hash of this tree',
    inputs: [{ label: 'key', value: proof.key }],
    result: null,
    nodes: [],
    holds
  }
}
