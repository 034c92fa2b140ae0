import { blockAt } from './blocks.ts'
import { type CreateFeed, call } from './feed.ts'
import type { Claim } from './row.ts'

/**
 * Opens what a killed writer left and compares it with what was acknowledged: length, number of blocks, the
 * bytes of the samples, and the signature over the whole (where the checking subject can tell).
 * @throws {Error} at the first difference.
 */
export async function checkClaim(create: CreateFeed, claim: Claim): Promise<void> {
  const feed = create(claim.dir, null, { createIfMissing: false })
  await call((callback) => feed.ready(callback))
  expect('length', feed.length, claim.length)
  expect('bytes', feed.byteLength, claim.length * claim.blockSize)
  expect('present blocks', feed.downloaded(0, claim.length), claim.present)
  for (const index of claim.samples) {
    const block = await call<Uint8Array>((callback) => feed.get(index, { wait: false }, callback))
    if (!blockAt(claim.blockSize, index).equals(block)) throw new Error(`Read back: block ${index} differs`)
  }
  if (feed.signature && feed.verify) {
    const signed = await call<{ index: number; signature: Uint8Array }>((callback) =>
      feed.signature!(claim.length - 1, callback)
    )
    await call((callback) => feed.verify!(signed.index, signed.signature, callback))
  }
  await call((callback) => feed.close(callback))
}

function expect(what: string, got: number, want: number): void {
  if (got !== want) throw new Error(`Read back: ${got} ${what}, acknowledged were ${want}`)
}
