import { DDatabaseError, type Proof } from 'ddatabase'
import type { FeedWatch } from './feed-watch.ts'
import type { ProofInfo } from './messages.ts'

/**
 * What proves `block` to somebody who has nothing but the key; and which nodes of those asked for are known here.
 * Errors: `ERR_SIGNATURE_NOT_FOUND`, `ERR_STORAGE`.
 */
export async function blockProof(
  { feed }: FeedWatch,
  block: number,
  asked: readonly number[]
): Promise<ProofInfo> {
  const here = feed.has(block)
  const proof = await feed.proof(block, { hash: !here }).catch(unproven)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return {
    proven: proof !== null,
    block,
    key: hex(feed.key!),
    here,
    nodes: (proof?.nodes ?? []).map(({ index, hash, size }) => ({ index, hash: hex(hash), size })),
    signature: proof === null || proof.signature === null ? null : hex(proof.signature),
    known: asked.filter((index) => feed.tree?.get(index))
  }
}

function unproven(error: unknown): Proof | null {
  if (DDatabaseError.is(error) && error.code === 'ERR_NO_PROOF') return null
  throw error
}
