/** Messages as a hostile remote would make them: of the right shape, with some of their values wrong, and some bytes changed. */
import type { SeededRandom } from '../helpers/seeded-random.ts'

/** A node of a proof. */
export interface ProofNode {
  index: number
  hash: Uint8Array
  size: number
}

/** What the generator may take from. */
export interface Sources {
  /** Public name of the feed. */
  readonly discoveryKey: Uint8Array
  /** Number of blocks. */
  readonly length: number
  block(index: number): Uint8Array
  proof(index: number, hash: boolean): { nodes: ProofNode[]; signature: Uint8Array | null }
}

const NUMBERS = [
  0,
  1,
  2,
  7,
  8,
  127,
  128,
  8191,
  8192,
  2 ** 20 - 1,
  2 ** 20,
  2 ** 24,
  2 ** 27,
  2 ** 31,
  2 ** 32,
  2 ** 40 - 1,
  2 ** 40,
  2 ** 50,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63
]

/** An unsigned varint. */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest < 128 ? rest : (rest % 128) + 128)
    if (rest < 128) return Buffer.from(bytes)
  }
}

/** A field with a number. */
export const uint = (field: number, value: number): Buffer =>
  Buffer.concat([varint(field * 8), varint(value)])
/** A field with bytes. */
export const bytes = (field: number, value: Uint8Array): Buffer =>
  Buffer.concat([varint(field * 8 + 2), varint(value.byteLength), value])

/** A frame around a message body. */
export function frame(channel: number, type: number, body: Uint8Array): Buffer {
  const header = varint(channel * 16 + type)
  return Buffer.concat([varint(header.byteLength + body.byteLength), header, body])
}

/** Changes a few bytes: flips, cuts, insertions, repetitions. */
export function mutate(input: Buffer, random: SeededRandom): Buffer {
  let out = Buffer.from(input)
  for (let change = random.between(1, 3); change > 0; change--) {
    const at = random.below(out.length)
    const size = random.between(1, 8)
    switch (random.below(5)) {
      case 0:
        if (out.length > 0) out[at] = out[at]! ^ (1 << random.below(8))
        break
      case 1:
        if (out.length > 0) out[at] = random.pick([0, 1, 0x7f, 0x80, 0xff])
        break
      case 2:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + size)])
        break
      case 3:
        out = Buffer.concat([out.subarray(0, at), random.bytes(size), out.subarray(at)])
        break
      default:
        out = Buffer.concat([out.subarray(0, at), out.subarray(random.below(out.length))])
    }
  }
  return out
}

/** Makes one frame after the other for channel 1, as a rule. */
export class MessageMaker {
  readonly #random: SeededRandom
  readonly #sources: Sources

  constructor(random: SeededRandom, sources: Sources) {
    this.#random = random
    this.#sources = sources
  }

  /** The Open that comes first. */
  open(channel = 1): Buffer {
    return frame(channel, 0, bytes(1, this.#sources.discoveryKey))
  }

  /** Says that everything is there, as an honest remote does. */
  announcement(): Buffer {
    return frame(1, 3, Buffer.concat([uint(1, 0), uint(2, this.#sources.length)]))
  }

  /** The next frame. */
  next(): Buffer {
    const random = this.#random
    if (random.chance(0.02)) return Buffer.of(0)
    if (random.chance(0.01))
      return random.pick([varint(random.pick(NUMBERS)), random.bytes(random.below(40))])
    const type = random.pick([0, 1, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7, 7, 7, 8, 9, 9, 9, 9, 9, 9, 10, 11, 15])
    // A closed channel makes all that follows boring.
    if (type === 10 && random.chance(0.8)) return this.next()
    const channel = random.chance(0.95) ? 1 : random.pick([0, 2, 3, 127, 2 ** 24, 2 ** 28 - 1])
    let body = this.#body(type)
    if (random.chance(0.01)) body = mutate(body, random)
    return frame(channel, type, body)
  }

  #body(type: number): Buffer {
    const random = this.#random
    const flag = (field: number) => (random.chance(0.5) ? uint(field, random.below(2)) : Buffer.alloc(0))
    switch (type) {
      case 0:
        return random.chance(0.7)
          ? bytes(1, this.#sources.discoveryKey)
          : Buffer.concat([
              bytes(1, random.bytes(32)),
              random.chance(0.3) ? bytes(2, random.bytes(32)) : Buffer.alloc(0)
            ])
      case 1:
        return Buffer.concat([
          ...Array.from({ length: random.below(5) }, () =>
            bytes(1, Buffer.from(random.pick(['a', 'example', '', 'ü'])))
          ),
          flag(2)
        ])
      case 2:
        return Buffer.concat([flag(1), random.chance(0.8) ? uint(2, 1) : flag(2)])
      case 3:
        return this.#have()
      case 4:
      case 5:
      case 6:
        return Buffer.concat([uint(1, this.#place()), uint(2, random.chance(0.5) ? 2 ** 20 : this.#number())])
      case 7:
      case 8:
        return Buffer.concat([
          uint(1, this.#place()),
          random.chance(0.3) ? uint(2, this.#number()) : Buffer.alloc(0),
          flag(3),
          random.chance(0.5) && type === 7
            ? uint(4, random.pick([0, 1, 2, 3, this.#number()]))
            : Buffer.alloc(0)
        ])
      case 9:
        return this.#data()
      case 10:
        return random.chance(0.5) ? bytes(1, random.bytes(random.pick([0, 31, 32, 33]))) : Buffer.alloc(0)
      case 15:
        return Buffer.concat([varint(random.pick([0, 1, 5, 2 ** 40])), random.bytes(random.below(30))])
      default:
        return random.bytes(random.below(20))
    }
  }

  #number(): number {
    // The last two are refused by every decoder, which ends it all.
    return this.#random.pick(this.#random.chance(0.03) ? NUMBERS : NUMBERS.slice(0, -2))
  }

  #place(): number {
    return this.#random.chance(0.8) ? this.#random.below(this.#sources.length + 4) : this.#number()
  }

  #have(): Buffer {
    const random = this.#random
    if (random.chance(0.5)) {
      return Buffer.concat([
        uint(1, this.#place()),
        random.chance(0.5)
          ? uint(2, random.chance(0.7) ? random.below(50) : this.#number())
          : Buffer.alloc(0),
        random.chance(0.1) ? uint(4, 1) : Buffer.alloc(0)
      ])
    }
    const run = (length: number, bit: number) => varint(4 * length + 2 * bit + 1)
    const literal = random.bytes(random.below(20))
    const bitfield = random.pick([
      Buffer.concat([varint(2 * literal.length), literal]),
      run(random.pick([1, 5, 1024, 131072, 131073, 2 ** 31, 2 ** 45]), 1),
      Buffer.concat([
        run(random.below(2000), 0),
        run(random.below(2000), 1),
        varint(2 * literal.length),
        literal
      ]),
      random.bytes(random.below(12))
    ])
    const start = random.pick([0, 0, 0, 8, 3, 8192, 2 ** 20, this.#number()])
    return Buffer.concat([
      uint(1, start),
      uint(2, random.pick([0, 1, 8192, 2 ** 20, 2 ** 20])),
      bytes(3, bitfield)
    ])
  }

  #data(): Buffer {
    const random = this.#random
    const { length } = this.#sources
    const index = random.below(length)
    const hash = random.chance(0.35)
    const proof = this.#sources.proof(index, hash)
    let nodes = proof.nodes.map((node) => ({ ...node }))
    let { signature } = proof
    let value: Uint8Array | null = hash ? null : this.#sources.block(index)
    let named = index
    for (let change = random.below(3); change > 0; change--) {
      const at = random.below(nodes.length)
      const node = nodes[at]
      switch (random.below(9)) {
        case 0:
          if (node) node.size = random.pick([0, node.size + 1, Math.max(0, node.size - 1), this.#number()])
          break
        case 1:
          // Bytes shifted between two neighbours.
          if (nodes.length > 1) {
            const by = random.below(nodes[1]!.size + 1)
            nodes[0]!.size += by
            nodes[1]!.size -= by
          }
          break
        case 2:
          if (node) node.index = random.pick([node.index + 2, this.#number()])
          break
        case 3:
          if (node) node.hash = random.bytes(random.chance(0.1) ? random.pick([0, 31, 33]) : 32)
          break
        case 4:
          nodes = random.pick([[], nodes.slice(1), [...nodes, ...nodes], random.shuffle(nodes)])
          break
        case 5:
          signature = random.pick([null, null, random.bytes(64), random.bytes(random.chance(0.1) ? 63 : 64)])
          break
        case 6:
          value = random.pick([
            null,
            Buffer.alloc(0),
            random.bytes(10),
            this.#sources.block(random.below(length))
          ])
          break
        case 7:
          named = this.#place()
          break
        default:
          if (value !== null) value = mutate(Buffer.from(value), random)
      }
    }
    return Buffer.concat([
      uint(1, named),
      value === null ? Buffer.alloc(0) : bytes(2, value),
      ...nodes.map((node) =>
        bytes(3, Buffer.concat([uint(1, node.index), bytes(2, node.hash), uint(3, node.size)]))
      ),
      signature === null ? Buffer.alloc(0) : bytes(4, signature)
    ])
  }
}
