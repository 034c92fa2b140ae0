/** Values that nobody should give to a function, and that somebody will. */
import type { SeededRandom } from '../helpers/seeded-random.ts'

/** What getters, traps and codecs of these values throw: it belongs to whoever made them, and may come out as it is. */
export class NastyError extends Error {}

const NUMBERS = [
  0,
  -0,
  1,
  2,
  5,
  -1,
  0.5,
  5.000000001,
  2 ** 31,
  2 ** 32,
  2 ** 51,
  2 ** 52 + 1,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  1e308,
  Number.MIN_VALUE,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY
]

const STRINGS = [
  '',
  '0',
  '-1',
  '1e3',
  'x',
  'binary',
  'json',
  'utf-8',
  '__proto__',
  'constructor',
  '\0',
  '\ud800'
]

/** Names of options, known and unknown ones. */
const NAMES = [
  'start',
  'end',
  'blocks',
  'linear',
  'hash',
  'wait',
  'timeout',
  'ifAvailable',
  'valueEncoding',
  'signal',
  'onwait',
  'minLength',
  'live',
  'tail',
  'snapshot',
  'batch',
  'digest',
  'nodes',
  'signature',
  'byteOffset',
  'byteLength',
  'maxBlockSize',
  'highWaterMark',
  'force',
  'repair',
  'onprogress',
  'encoding',
  'onmessage',
  'onerror',
  'reverse',
  'index',
  'size',
  'then',
  'length',
  '__proto__',
  'toString'
]

const fail = (): never => {
  throw new NastyError('a value of the caller threw')
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(8)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function cyclic(): object {
  const object: { self?: unknown } = {}
  object.self = object
  return object
}

/** Makes a value. */
type Make = (random: SeededRandom, depth: number) => unknown

const MAKERS: readonly Make[] = [
  (random) => random.pick(NUMBERS),
  (random) => random.pick(NUMBERS),
  (random) => random.between(0, 6),
  (random) => random.pick(STRINGS),
  (random) => 'long'.repeat(random.below(20_000)),
  (random) => random.pick([null, undefined, true, false]),
  (random) => random.pick([1n, -1n, 2n ** 64n, Symbol('nasty'), Symbol.iterator, Symbol.asyncIterator]),
  // Functions may become callbacks, and what those throw is nobody else's.
  (random) => random.pick([() => {}, () => 1, async () => {}, function named() {}, Math.max]),
  (random) => random.pick([{}, Object.create(null), Object.freeze({}), new (class Thing {})(), cyclic()]),
  (random, depth) => Array.from({ length: random.below(4) }, () => nasty(random, depth)),
  (random) => {
    const sparse: unknown[] = []
    sparse[random.below(40)] = random.pick(NUMBERS)
    return sparse
  },
  (random) =>
    random.pick([
      new Proxy({}, {}),
      new Proxy([], {}),
      new Proxy(() => {}, {}),
      new Proxy(new Uint8Array(4), {}),
      new Proxy({}, { get: fail }),
      new Proxy({}, { has: fail, ownKeys: fail, getOwnPropertyDescriptor: fail }),
      new Proxy({}, { getPrototypeOf: fail }),
      revoked()
    ]),
  (random) => {
    const object = {}
    for (const name of random.shuffle(NAMES).slice(0, 4))
      Object.defineProperty(object, name, { get: fail, enumerable: true, configurable: true })
    return object
  },
  (random) => ({ [random.pick(['toString', 'valueOf', 'toJSON', 'length', 'byteLength', 'inspect'])]: fail }),
  // A thenable that never answers, one that answers at once, a promise that fails.
  (random) =>
    random.pick([
      // biome-ignore lint/suspicious/noThenProperty: that is what is tried
      () => ({ then() {} }),
      // biome-ignore lint/suspicious/noThenProperty: that is what is tried
      () => ({ then: 5 }),
      () => Promise.resolve(3),
      failing
    ])(),
  (random) =>
    random.pick([
      () => detached(),
      () => detached().buffer,
      () => new Uint8Array(0),
      () => new Uint8Array(random.pick([1, 31, 32, 33, 63, 64, 65])),
      () => Buffer.alloc(random.below(100)),
      () => new ArrayBuffer(8),
      () => new Uint8Array(new SharedArrayBuffer(64)),
      () => new DataView(new ArrayBuffer(8)),
      () => new Float64Array(4),
      () => new Uint16Array([1, 2, 3]),
      () => new BigInt64Array(2),
      () => Object.defineProperty(new Uint8Array(4), 'byteLength', { value: 2 ** 40 }),
      () => new Uint8Array(5000)
    ])(),
  (random) =>
    random.pick([
      () => new Date(Number.NaN),
      () => /x/g,
      () => new Map([[1, 2]]),
      () => new Set([1]),
      () => new WeakMap(),
      () => new Error('an error as an argument'),
      () => new Number(3),
      () => new String('3'),
      () => (function* generator() {})(),
      () => globalThis
    ])(),
  (random) =>
    random.pick([
      () => AbortSignal.abort(),
      () => AbortSignal.abort(undefined),
      () => AbortSignal.abort(new NastyError('the reason of a signal')),
      () => new AbortController().signal,
      () => ({ aborted: true }),
      () => ({ aborted: false, addEventListener: 5 }),
      () => ({ aborted: false, addEventListener: fail, removeEventListener: fail })
    ])(),
  (random) =>
    random.pick<object>([
      { encode: fail, decode: fail },
      { encode: () => 'no bytes', decode: () => undefined },
      { encode: () => null, decode: () => null, encodingLength: () => -1 },
      { encode: () => new Uint8Array(3), decode: async () => fail() }
    ]),
  ...Array.from<unknown, Make>({ length: 4 }, () => (random, depth) => options(random, depth))
]

function failing(): Promise<never> {
  const promise = Promise.reject(new NastyError('a promise of the caller failed'))
  promise.catch(() => {})
  return promise
}

/** An object with some of the names that options have. */
function options(random: SeededRandom, depth: number): object {
  const object = random.chance(0.1) ? Object.create({ timeout: 'inherited' }) : {}
  for (const name of random.shuffle(NAMES).slice(0, random.between(1, 4))) {
    Object.defineProperty(object, name, {
      value: nasty(random, depth + 1),
      enumerable: true,
      configurable: true,
      writable: true
    })
  }
  return object
}

/** A value from the pool. */
export function nasty(random: SeededRandom, depth = 0): unknown {
  // Objects within objects within objects find nothing more.
  return depth > 2 ? random.pick(NUMBERS) : random.pick(MAKERS)(random, depth + 1)
}

/** A value in words, for reports. */
export function inWords(value: unknown): string {
  try {
    if (typeof value === 'string')
      return value.length > 20 ? `a string of ${value.length}` : JSON.stringify(value)
    if (typeof value === 'function') return value.toString().slice(0, 40)
    if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value)
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength})`
    const names = Object.getOwnPropertyNames(value).slice(0, 6)
    const parts = names.map((name) => {
      const { value: part, get } = Object.getOwnPropertyDescriptor(value, name)!
      return `${name}: ${get === undefined ? inWords(part) : 'throws'}`
    })
    return `${value.constructor?.name ?? 'null'} {${parts.join(', ')}}`.slice(0, 200)
  } catch {
    return 'a proxy'
  }
}
