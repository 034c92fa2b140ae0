import { ed25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import ddatabase, { type Feed, type TreeNode } from 'ddatabase'
import flat from 'flat-tree'
import RandomAccessMemory from 'random-access-memory'
import { join, uint64s } from '../../src/page/bytes.ts'

/** A sparse copy of a feed of any length, all of whose blocks are the same: so are all nodes of one depth. */
export interface HugeFeed {
  feed: Feed<Uint8Array>
  /** Stores a block, as if a peer had sent it. */
  put(block: number): Promise<void>
}

/** Makes one; nobody ever has all of its blocks. */
export async function hugeFeed(length: number): Promise<HugeFeed> {
  const block = Buffer.from('the same')
  const hashes = [blake2b(join(Uint8Array.of(0), uint64s(block.byteLength), block), { dkLen: 32 })]
  for (let depth = 1; 2 ** depth <= length; depth++) {
    const below = hashes[depth - 1]!
    hashes.push(
      blake2b(join(Uint8Array.of(1), uint64s(block.byteLength * 2 ** depth), below, below), { dkLen: 32 })
    )
  }
  const node = (index: number): TreeNode => {
    const depth = flat.depth(index)
    return { index, hash: Buffer.from(hashes[depth]!), size: block.byteLength * 2 ** depth }
  }
  const roots = flat.fullRoots(2 * length).map(node)
  const parts = roots.flatMap((root) => [root.hash, uint64s(root.index, root.size)])
  const { secretKey, publicKey } = ed25519.keygen()
  const message = join(blake2b(join(Uint8Array.of(2), ...parts), { dkLen: 32 }), uint64s(length))
  const signature = Buffer.from(ed25519.sign(message, secretKey))
  const feed = ddatabase(RandomAccessMemory, Buffer.from(publicKey), { sparse: true })
  await feed.ready()
  return {
    feed,
    async put(index) {
      const nodes: TreeNode[] = []
      let top = 2 * index
      while (!roots.some((root) => root.index === top)) {
        nodes.push(node(flat.sibling(top)))
        top = flat.parent(top)
      }
      nodes.push(...roots.filter((root) => root.index !== top))
      await feed.put(index, block, { nodes, signature })
    }
  }
}
