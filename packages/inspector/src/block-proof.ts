import type { FeedWatch } from './feed-watch.ts'
import type { ProofInfo } from './messages.ts'

/** What proves `block` to somebody who has nothing but the key. Errors: `ERR_NO_PROOF`, `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`. */
export async function blockProof(
  { feed }: FeedWatch,
  block: number,
  asked: readonly number[]
): Promise<ProofInfo> {
  const here = feed.has(block)
  const { nodes, signature } = await feed.proof(block, { hash: !here })
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return {
    block,
    key: hex(feed.key!),
    here,
    nodes: nodes.map(({ index, hash, size }) => ({ index, hash: hex(hash), size })),
    signature: signature === null ? null : hex(signature),
    known: asked.filter((index) => feed.tree?.get(index))
  }
}
