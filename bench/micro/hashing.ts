import b4a from 'b4a'
import { bench, do_not_optimize } from 'mitata'
import * as hashWasm from '../../src/crypto/backend.browser.ts'
import * as libsodium from '../../src/crypto/backend.ts'
import { HashInput } from '../../src/crypto/hash-input.ts'
import { HASH_SIZE } from '../../src/merkle/node.ts'
import { blockAt } from '../harness/blocks.ts'

const leafSizes = { '512 B': 512, '16 KB': 16 * 1024, '64 KB': 64 * 1024 }
// Before a block or the hashes of a parent's children: the type and the size.
const PREFIX_SIZE = 9

/** What the hashes of the tree cost with each backend, with as little around them as possible. */
export function hashing(): void {
  for (const [name, backend] of Object.entries({ 'sodium-native': libsodium, 'hash-wasm': hashWasm })) {
    const out = b4a.alloc(HASH_SIZE)
    for (const [size, bytes] of Object.entries(leafSizes)) {
      bench(`hashing: leaf ${size}, ${name}`, async function* () {
        await backend.ready()
        const inputs = [b4a.alloc(PREFIX_SIZE), blockAt(bytes, 0)]
        yield () => {
          backend.blake2bBatch(out, inputs)
          do_not_optimize(out)
        }
      })
    }
    bench(`hashing: parent, ${name}`, async function* () {
      await backend.ready()
      const input = new HashInput(b4a.alloc(PREFIX_SIZE + 2 * HASH_SIZE, 1))
      yield () => {
        backend.blake2bInto(out, 0, input, input.bytes.length)
        do_not_optimize(out)
      }
    })
  }
}
