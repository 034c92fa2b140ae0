/** Lines of bytes that have come so far, each with the bytes of its line only. */
export type Lines = Uint8Array[]

const NEWLINE = 0x0a
const RETURN = 0x0d

/**
 * Cuts a stream into lines, which stay bytes. What comes at once is answered at once, so that a slow writer's line
 * does not wait for the next one. The last line needs no end. Throws what `tooLong` makes if a line exceeds `max` bytes.
 */
export async function* linesOf(
  input: AsyncIterable<Uint8Array>,
  max: number,
  tooLong: () => Error
): AsyncGenerator<Lines> {
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  const end = (piece: Uint8Array): Uint8Array => {
    const line = pending.length === 0 ? piece : Buffer.concat([...pending, piece])
    pending = []
    pendingBytes = 0
    return line.at(-1) === RETURN ? line.subarray(0, -1) : line
  }
  for await (const chunk of input) {
    const lines: Lines = []
    let start = 0
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, start)) {
      lines.push(end(chunk.subarray(start, at)))
      start = at + 1
    }
    if (start < chunk.byteLength) {
      pending.push(chunk.subarray(start))
      pendingBytes += chunk.byteLength - start
    }
    if (lines.length > 0) yield lines
    if (pendingBytes > max) throw tooLong()
  }
  if (pendingBytes > 0) yield [end(new Uint8Array(0))]
}
