/** Bytes of a block of a file, unless it is told otherwise. */
export const BLOCK_SIZE = 64 * 1024

/** Bytes of blocks that are appended at once: with one signature, and one write. */
export const BATCH_BYTES = 4 * 1024 * 1024

// However small they are: each takes memory beside its bytes.
const MOST = 4096

/** Cuts a stream into blocks of `blockSize` bytes, the last one shorter; answers them in batches. */
export async function* chunksOf(
  input: AsyncIterable<Uint8Array>,
  blockSize: number
): AsyncGenerator<Uint8Array[]> {
  const perBatch = Math.min(MOST, Math.max(1, Math.floor(BATCH_BYTES / blockSize)))
  let batch: Uint8Array[] = []
  let block = Buffer.allocUnsafe(blockSize)
  let filled = 0
  for await (const chunk of input) {
    for (let at = 0; at < chunk.byteLength; ) {
      const taken = Math.min(blockSize - filled, chunk.byteLength - at)
      block.set(chunk.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled < blockSize) continue
      batch.push(block)
      // The feed keeps what is appended: blocks are not used again.
      block = Buffer.allocUnsafe(blockSize)
      filled = 0
      if (batch.length < perBatch) continue
      yield batch
      batch = []
    }
  }
  if (filled > 0) batch.push(block.subarray(0, filled))
  if (batch.length > 0) yield batch
}
