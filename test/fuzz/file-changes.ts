/** Damage to stored feeds: of the kinds that disks, backups, people and enemies do, at the places that mean something. */
import sodium from 'sodium-native'
import type { MemoryFiles } from '../helpers/memory-files.ts'
import { SIX_FILES } from '../helpers/memory-files.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import type { StoredFeed } from './stored-feeds.ts'

const CHECKPOINTS = ['checkpoint.0', 'checkpoint.1'] as const
const HEADER = 32
const NODE = 40
const SIGNATURE = 64
const NUMBERS = [
  0,
  1,
  2,
  31,
  1000,
  2 ** 20,
  2 ** 31,
  2 ** 32,
  2 ** 40,
  2 ** 52,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63
]

/** Changes the files of one feed, and says what it has changed. */
export class FileChanger {
  /** What was done, for reports. */
  readonly log: string[] = []
  /** The files that were changed. */
  readonly touched = new Set<string>()
  readonly #random: SeededRandom
  readonly #files: MemoryFiles
  readonly #stored: StoredFeed
  readonly #others: readonly StoredFeed[]

  /**
   * @param files - changed in place
   * @param stored - what the files are of
   * @param others - feeds whose files may get among these
   */
  constructor(random: SeededRandom, files: MemoryFiles, stored: StoredFeed, others: readonly StoredFeed[]) {
    this.#random = random
    this.#files = files
    this.#stored = stored
    this.#others = others
  }

  /** One change; false if there was nothing to change. */
  change(): boolean {
    const random = this.#random
    return random.pick([
      () => this.#tree(),
      () => this.#tree(),
      () => this.#tree(),
      () => this.#bits(),
      () => this.#bits(),
      () => this.#signatures(),
      () => this.#signatures(),
      () => this.#data(),
      () => this.#data(),
      () => this.#header(),
      () => this.#keys(),
      () => this.#checkpoint(),
      () => this.#whole(),
      () => this.#whole()
    ])()
  }

  #edit(name: string, what: string, edit: (content: Buffer) => Buffer | null): boolean {
    const content = this.#files.read(name)
    if (content === null) return false
    const changed = edit(Buffer.from(content))
    if (changed?.equals(content)) return false
    this.#files.put(name, changed)
    this.touched.add(name)
    this.log.push(`${name}: ${what}`)
    return true
  }

  /** Changes bytes in a part of a file. */
  #spoil(name: string, from: number, size: number): boolean {
    const random = this.#random
    if (size <= 0) return false
    const at = from + random.below(size)
    const until = from + size
    const kind = random.below(5)
    const words = ['a bit', 'a byte', 'zeros', 'ones', 'noise'][kind]!
    return this.#edit(name, `${words} at ${at} of ${from} … ${until}`, (content) => {
      if (at >= content.length) return content
      const end = Math.min(content.length, random.chance(0.5) ? until : at + 1 + random.below(until - at))
      if (kind === 0) content[at] = content[at]! ^ (1 << random.below(8))
      else if (kind === 1) content[at] = random.below(256)
      else if (kind === 2) content.fill(0, at, end)
      else if (kind === 3) content.fill(255, at, end)
      else content.set(random.bytes(Math.min(300, end - at)), at)
      return content
    })
  }

  #tree(): boolean {
    const random = this.#random
    const slots = this.#slots('tree', NODE)
    if (slots === 0) return false
    const slot = random.below(slots)
    const at = HEADER + NODE * slot
    const other = HEADER + NODE * random.below(slots)
    switch (random.below(6)) {
      case 0:
        return this.#spoil('tree', at, 32)
      case 1:
        return this.#spoil('tree', at + 32, 8)
      case 2:
        return this.#spoil('tree', at, NODE * random.between(1, slots - slot))
      case 3:
        return this.#edit('tree', `node ${slot} is the one at ${other}`, (content) => {
          content.copyWithin(at, other, other + NODE)
          return content
        })
      case 4: {
        // Two leaves of a pair: the hash of their parent knows the sum of their sizes only.
        const left = HEADER + NODE * (4 * random.below(Math.ceil(slots / 4)))
        return this.#edit('tree', `bytes shifted between the nodes at ${left}`, (content) => {
          if (content.length < left + 3 * NODE) return content
          const [a, b] = [left + 32, left + 2 * NODE + 32]
          // Other changes may have left sizes that no file has.
          const sum = BigInt.asUintN(60, content.readBigUInt64BE(a) + content.readBigUInt64BE(b))
          const size = BigInt(random.below(Number(BigInt.asUintN(50, sum)) + 1))
          content.writeBigUInt64BE(size, a)
          content.writeBigUInt64BE(sum - size, b)
          return content
        })
      }
      default:
        return this.#edit('tree', `the size of node ${slot}`, (content) => {
          content.writeBigUInt64BE(BigInt(random.pick(NUMBERS)), at + 32)
          return content
        })
    }
  }

  #bits(): boolean {
    const random = this.#random
    const length = this.#stored.blocks.length
    const [place, words] = random.pick([
      [random.below(length + 9), 'data bit'],
      [8 * 1024 + random.below(2 * length + 17), 'tree bit'],
      [8 * 3072 + random.below(2048), 'index bit'],
      [random.below(8 * 3584), 'bit']
    ] as const)
    switch (random.below(4)) {
      case 0:
      case 1:
        return this.#edit('bitfield', `${words} ${place}`, (content) => {
          const at = HEADER + (place >> 3)
          if (at < content.length) content[at] = content[at]! ^ (128 >> (place & 7))
          return content
        })
      case 2:
        return this.#spoil('bitfield', HEADER + random.pick([0, 1024, 3072]), Math.ceil(length / 4) + 1)
      default:
        return this.#edit('bitfield', 'some bits', (content) => {
          for (let left = random.between(2, 30); left > 0; left--) {
            const bit = random.chance(0.5) ? random.below(length + 1) : 8192 + random.below(2 * length + 1)
            const at = HEADER + (bit >> 3)
            if (at < content.length) content[at] = content[at]! ^ (128 >> (bit & 7))
          }
          return content
        })
    }
  }

  #signatures(): boolean {
    const random = this.#random
    const slots = this.#slots('signatures', SIGNATURE)
    if (slots === 0) return false
    const slot = random.chance(0.5) ? slots - 1 : random.below(slots)
    const at = HEADER + SIGNATURE * slot
    switch (random.below(3)) {
      case 0:
        return this.#spoil('signatures', at, SIGNATURE)
      case 1:
        return this.#spoil('signatures', at, SIGNATURE * random.between(1, slots - slot))
      default: {
        const other = HEADER + SIGNATURE * random.below(slots)
        return this.#edit('signatures', `slot ${slot} is the one at ${other}`, (content) => {
          content.copyWithin(at, other, other + SIGNATURE)
          return content
        })
      }
    }
  }

  #data(): boolean {
    const size = this.#files.read('data')?.byteLength ?? 0
    return this.#spoil('data', 0, size)
  }

  #header(): boolean {
    const name = this.#random.pick(['tree', 'signatures', 'bitfield'])
    return this.#spoil(name, 0, HEADER)
  }

  #keys(): boolean {
    const name = this.#random.pick(['key', 'key', 'secret_key'])
    const size = this.#files.read(name)?.byteLength ?? 0
    return this.#random.chance(0.6) ? this.#spoil(name, 0, size) : this.#resize(name)
  }

  /** A file as a whole: cut, longer, gone, of another time, of another feed. */
  #whole(): boolean {
    const random = this.#random
    const names = this.#stored.extraFiles ? [...SIX_FILES, ...CHECKPOINTS] : SIX_FILES
    const name = random.pick(names)
    switch (random.below(6)) {
      case 0:
      case 1:
        return this.#resize(name)
      case 2:
        return this.#edit(name, 'gone', () => null)
      case 3: {
        const other = random.pick(this.#others)
        return this.#edit(name, `that of "${other.name}"`, () => asBuffer(other.files.read(name)))
      }
      case 4:
        return this.#edit(name, 'as it was before', () => asBuffer(this.#stored.older.read(name)))
      default:
        // A backup of some of the files, or a disk that was put back.
        return (
          names
            .filter(() => random.chance(0.5))
            .map((file) =>
              this.#edit(file, 'as it was before', () => asBuffer(this.#stored.older.read(file)))
            )
            .filter(Boolean).length > 0
        )
    }
  }

  #resize(name: string): boolean {
    const random = this.#random
    const more = random.chance(0.2)
    const entry = name === 'tree' ? NODE : name === 'signatures' ? SIGNATURE : 1
    return this.#edit(name, more ? 'longer' : 'cut', (content) => {
      if (more) {
        const tail = random.bytes(1 + random.below(200))
        return Buffer.concat([content, random.chance(0.5) ? tail.fill(0) : tail])
      }
      if (random.chance(0.2)) return content.subarray(0, random.below(Math.min(content.length, HEADER + 1)))
      const left = random.below(content.length)
      return content.subarray(0, random.chance(0.5) ? left : left - ((left - HEADER) % entry))
    })
  }

  /** A checkpoint: spoilt, or well made with other contents, as anybody could who knows the public key. */
  #checkpoint(): boolean {
    const random = this.#random
    const name = random.pick(CHECKPOINTS)
    const size = this.#files.read(name)?.byteLength ?? 0
    if (random.chance(0.3)) return this.#spoil(name, 0, size)
    return this.#edit(name, 'forged', (content) => {
      if (content.length < 24 + 72 + 32) return content
      const payload = Buffer.from(content.subarray(24, 24 + Number(content.readBigUInt64BE(16))))
      if (payload.length < 72) return content
      for (let left = random.between(1, 2); left > 0; left--) {
        const number = BigInt(random.chance(0.5) ? random.below(60) : random.pick(NUMBERS))
        const pieces = payload.length - 72
        random.pick([
          () => payload.writeBigUInt64BE(number, random.pick([0, 8, 16, 24, 64])),
          () => payload.set(random.bytes(4), 32 + random.below(28)),
          () => pieces >= 4 && payload.writeUInt32BE(random.pick([0, 1, 1000, 2 ** 32 - 1]), 72),
          () => pieces > 4 && payload.set(random.bytes(1), 76 + random.below(pieces - 4)),
          () => pieces > 4 && payload.set(random.bytes(Math.min(6, pieces - 4)), 76)
        ])()
      }
      const cut = random.chance(0.2) ? payload.subarray(0, random.below(payload.length + 1)) : payload
      const frame = this.#frame(0, content.readBigUInt64BE(8), cut)
      const [start, end] = [random.below(40), random.below(60)].map(BigInt) as [bigint, bigint]
      const record = Buffer.alloc(random.chance(0.8) ? 48 : random.below(48))
      if (record.length >= 16) {
        record.writeBigUInt64BE(start)
        record.writeBigUInt64BE(random.chance(0.2) ? BigInt(random.pick(NUMBERS)) : end, 8)
      }
      let kind = random.between(1, 3)
      // Pages of bits that may differ: few feeds here have more than one. Not drawn, so that the seeds that are kept go on.
      if (kind === 2 && start % 2n === 0n && record.length >= 16) {
        kind = 4
        record.writeBigUInt64BE(start % 3n)
      }
      if (kind === 1 && record.length === 48) {
        return Buffer.concat([frame, this.#frame(1, content.readBigUInt64BE(8), record.subarray(0, 16))])
      }
      return random.chance(0.5)
        ? frame
        : Buffer.concat([frame, this.#frame(kind, content.readBigUInt64BE(8), record)])
    })
  }

  #frame(kind: number, sequence: bigint, payload: Uint8Array): Buffer {
    const head = Buffer.alloc(24)
    head.write('DDCP')
    head[4] = kind
    head[5] = 1
    head.writeBigUInt64BE(sequence, 8)
    head.writeBigUInt64BE(BigInt(payload.byteLength), 16)
    const hash = Buffer.alloc(32)
    sodium.crypto_generichash_batch(hash, [this.#stored.key, head, Buffer.from(payload)])
    return Buffer.concat([head, payload, hash])
  }

  #slots(name: string, size: number): number {
    return Math.max(0, Math.floor(((this.#files.read(name)?.byteLength ?? 0) - HEADER) / size))
  }
}

function asBuffer(content: Uint8Array | null): Buffer | null {
  return content === null ? null : Buffer.from(content)
}
