import { bench, do_not_optimize } from 'mitata'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { decode, encode } from '../../src/bitfield/rle.ts'
import { randomNumbers } from '../harness/blocks.ts'

const blocks = 1_000_000
const range = 1_000

/** Blocks of a million that are asked for one after the other. */
const drawn = 4_096

function empty(): Bitfield {
  return new Bitfield(new Pages(PAGE_SIZE))
}

/** All blocks but the last. */
function nearlyFull(): Bitfield {
  const bits = empty()
  bits.setRange(0, blocks - 1, true)
  return bits
}

/** Random runs of present and missing blocks, 50 long in the mean. */
function patchy(): Bitfield {
  const random = randomNumbers(1)
  const bits = empty()
  for (let at = 0; at < blocks; ) {
    const present = Math.ceil(random() * 100)
    bits.setRange(at, Math.min(at + present, blocks), true)
    at += present + Math.ceil(random() * 100)
  }
  return bits
}

/** The bits of a feed of a million blocks. */
export function bitfield(): void {
  bench(`bitfield: set a range of ${range} and clear it`, function* () {
    const bits = nearlyFull()
    let at = 0
    yield () => {
      bits.setRange(at, at + range, false)
      bits.setRange(at, at + range, true)
      at = (at + 7 * range) % (blocks - range)
    }
  })
  bench('bitfield: has, at random', function* () {
    const bits = patchy()
    const random = randomNumbers(2)
    const order = Uint32Array.from({ length: drawn }, () => random() * blocks)
    let at = 0
    yield () => do_not_optimize(bits.get(order[at++ % drawn]!))
  })
  bench('bitfield: first missing, the last of a million', function* () {
    const bits = nearlyFull()
    yield () => do_not_optimize(bits.firstMissing(0, blocks))
  })
  bench('bitfield: first missing, from a block at random', function* () {
    const bits = patchy()
    const random = randomNumbers(3)
    const order = Uint32Array.from({ length: drawn }, () => random() * blocks)
    let at = 0
    yield () => do_not_optimize(bits.firstMissing(order[at++ % drawn]!, blocks))
  })
  for (const [name, make] of Object.entries({ 'nearly full': nearlyFull, patchy })) {
    bench(`bitfield: RLE encode a million, ${name}`, function* () {
      const bytes = make().toBytes(0, blocks)
      yield () => do_not_optimize(encode(bytes))
    })
    bench(`bitfield: RLE decode a million, ${name}`, function* () {
      const encoded = encode(make().toBytes(0, blocks))
      yield () => do_not_optimize(decode(encoded, blocks))
    })
  }
}
