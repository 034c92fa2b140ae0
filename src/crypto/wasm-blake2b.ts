/**
 * BLAKE2b-256 in WebAssembly, for Node.js: loaded when somebody wants it, from the one file of `hash-wasm` that has it. Found
 * at run time, so that a bundled application that leaves it behind goes without.
 */
import { createHash } from 'node:crypto'
import type { createBLAKE2b as CreateBLAKE2b } from 'hash-wasm'
import { requireFor } from '../util/require.ts'
import type { HashFunction } from './faster-hash.ts'

const BITS = 256
const FILE = 'hash-wasm/dist/blake2b.umd.min.js'

/** Where the module is. @throws if it is not installed */
export function wasmBlake2bPath(): string {
  return requireFor(FILE).resolve(FILE)
}

/** Rejects if it is not installed, or if there is no WebAssembly. */
export async function loadWasmBlake2b(): Promise<HashFunction> {
  const { createBLAKE2b } = requireFor(FILE)(FILE) as { createBLAKE2b: typeof CreateBLAKE2b }
  const hasher = await createBLAKE2b(BITS)
  return (out, inputs) => {
    hasher.init()
    for (const input of inputs) hasher.update(input)
    out.set(hasher.digest('binary'))
  }
}

const SAMPLE_SIZE = 128 * 1024
const SAMPLES = 5
// WebAssembly took 0.9 to 0.96 of OpenSSL's time, and is taken if it needs less than 0.9 of the native function's: so there is something to be
// gained where OpenSSL needs less than the native function.
const PROMISING = 1

/**
 * Whether WebAssembly may be faster than `native`, told without loading it: what it compiles to works on one word after the other, as OpenSSL's BLAKE2b
 * does, which is there anyway. It has 64 byte hashes only, which take the same time.
 */
export function wasmMayBeFaster(native: HashFunction): boolean {
  const inputs = [new Uint8Array(SAMPLE_SIZE)]
  const out = new Uint8Array(BITS / 8)
  const openssl = () => createHash('blake2b512').update(inputs[0]!).digest()
  try {
    let ours = Number.POSITIVE_INFINITY
    let theirs = Number.POSITIVE_INFINITY
    for (let i = 0; i < SAMPLES; i++) {
      const start = performance.now()
      native(out, inputs)
      const middle = performance.now()
      openssl()
      ours = Math.min(ours, middle - start)
      theirs = Math.min(theirs, performance.now() - middle)
    }
    return ours > PROMISING * theirs
  } catch {
    // Another library in OpenSSL's place, as in Electron, has no BLAKE2b.
    return true
  }
}
