/**
 * BLAKE2b-256 in WebAssembly, for Node.js: loaded when somebody wants it, from the one file of `hash-wasm` that has it. Found
 * at run time, so that a bundled application that leaves it behind goes without.
 */
import { createRequire } from 'node:module'
import type { createBLAKE2b as CreateBLAKE2b } from 'hash-wasm'
import type { HashFunction } from './faster-hash.ts'

const BITS = 256
const FILE = 'hash-wasm/dist/blake2b.umd.min.js'

/** Where the module is. @throws if it is not installed */
export function wasmBlake2bPath(): string {
  return createRequire(import.meta.url).resolve(FILE)
}

/** Rejects if it is not installed, or if there is no WebAssembly. */
export async function loadWasmBlake2b(): Promise<HashFunction> {
  const { createBLAKE2b } = createRequire(import.meta.url)(FILE) as { createBLAKE2b: typeof CreateBLAKE2b }
  const hasher = await createBLAKE2b(BITS)
  return (out, inputs) => {
    hasher.init()
    for (const input of inputs) hasher.update(input)
    out.set(hasher.digest('binary'))
  }
}
