/** The value encodings the model knows, written out independently of the package. */
import type { SeededRandom } from '../helpers/seeded-random.ts'

/** An encoding: its name for the feed, and what it does. */
export interface ModelCodec {
  readonly name: string
  encode(value: unknown): Buffer
}

/** Bytes. */
export const BINARY: ModelCodec = { name: 'binary', encode: (value) => Buffer.from(value as Buffer) }
/** Text. */
export const UTF8: ModelCodec = { name: 'utf-8', encode: (value) => Buffer.from(value as string, 'utf8') }
/** JSON, which feeds store one value per line. */
export const JSON_LINES: ModelCodec = {
  name: 'json',
  encode: (value) => Buffer.from(`${JSON.stringify(value)}\n`, 'utf8')
}

/** One of them per sequence. */
export const CODECS: readonly ModelCodec[] = [BINARY, BINARY, UTF8, JSON_LINES]

const WORDS = ['', 'a', 'hello', 'block', 'zwölf', '✓ done', '\u0000', 'x'.repeat(300)]

/** A random value of the encoding: small, empty and, now and then, a few thousand bytes. */
export function randomValue(codec: ModelCodec, random: SeededRandom): unknown {
  if (codec === BINARY) {
    if (random.chance(0.1)) return Buffer.alloc(0)
    return random.chance(0.05)
      ? random.bytes(random.between(1000, 5000))
      : random.bytes(random.between(1, 40))
  }
  if (codec === UTF8) return `${random.pick(WORDS)}${random.chance(0.5) ? random.below(1e6) : ''}`
  return randomJson(random, 2)
}

function randomJson(random: SeededRandom, depth: number): unknown {
  const kind = random.below(depth > 0 ? 6 : 4)
  if (kind === 0) return random.below(1e9)
  if (kind === 1) return random.pick(WORDS)
  if (kind === 2) return random.chance(0.5)
  if (kind === 3) return random.below(1000) / 8
  const parts = Array.from({ length: random.below(4) }, () => randomJson(random, depth - 1))
  return kind === 4 ? parts : Object.fromEntries(parts.map((part, i) => [`k${i}`, part]))
}
