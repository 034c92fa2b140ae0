/** Memory whose first bytes are hashed over and over. What a view lies in is asked once: that takes as long as copying it. */
export class HashInput {
  readonly bytes: Uint8Array
  /** What the bytes lie in. */
  readonly buffer: ArrayBufferLike
  /** Where they begin in it. */
  readonly byteOffset: number

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.buffer = bytes.buffer
    this.byteOffset = bytes.byteOffset
  }
}
