/**
 * Whether a value is a Uint8Array, also one of another realm: of a frame, of `node:vm`, of a test runner that gives each file globals of its own. Such
 * bytes are as good as any, but not `instanceof` the class of this realm.
 */
export function isBytes(value: unknown): value is Uint8Array {
  if (value instanceof Uint8Array) return true
  return ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] === 'Uint8Array'
}

/** Whether the memory of an array has been given to somebody else: it cannot even be looked at. */
export function isDetached(bytes: Uint8Array): boolean {
  if (bytes.length > 0) return false
  try {
    new Uint8Array(bytes.buffer)
    return false
  } catch {
    return true
  }
}
