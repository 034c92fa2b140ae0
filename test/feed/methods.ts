/** Every asynchronous method of a feed, for the suites that hold for all of them. */
import type { Feed, Proof } from '../../src/index.ts'

/** One way to call a method of a feed with the blocks 'a', 'bc', 'def'. */
export interface MethodCase {
  /** Without a callback at its end. */
  args(feed: Feed<unknown>, known: Known): unknown[]
  /** What it is answered with, in words that compare. */
  expected: unknown
  /** Makes the answer comparable. */
  show?(values: unknown[]): unknown
  /** Arguments with which it fails, and how; `atOnce`: before the call returns. */
  fails?: { args(known: Known): unknown[]; code: string; atOnce?: true }
  /** `get` with a callback returns an id instead of a promise. */
  returnsId?: true
}

/** What a case may need, worked out beforehand from a feed with the same content. */
export interface Known {
  readonly signature: Uint8Array
  proof(): Proof
}

const text = ([value]: unknown[]) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value)
const keys = ([value]: unknown[]) => Object.keys(value as object).sort()

/** By name. */
export const METHODS: Record<string, MethodCase> = {
  ready: { args: () => [], expected: undefined },
  open: { args: () => [], expected: undefined },
  append: {
    args: () => ['x'],
    expected: 3,
    fails: { args: () => [Buffer.alloc(8_388_608)], code: 'ERR_BLOCK_TOO_LARGE' }
  },
  flush: { args: () => [], expected: 3 },
  get: {
    args: () => [1],
    expected: 'bc',
    show: text,
    returnsId: true,
    fails: { args: () => [9, { wait: false }], code: 'ERR_BLOCK_NOT_DOWNLOADED' }
  },
  getBatch: {
    args: () => [0, 2],
    expected: ['a', 'bc'],
    show: ([blocks]) => (blocks as unknown[]).map((block) => text([block])),
    fails: { args: () => [0, 9, { wait: false }], code: 'ERR_BLOCK_NOT_DOWNLOADED' }
  },
  head: { args: () => [], expected: 'def', show: text },
  update: {
    args: () => [2],
    expected: undefined,
    fails: { args: () => [{ ifAvailable: true }], code: 'ERR_UPDATE_NOT_AVAILABLE' }
  },
  seek: {
    args: () => [2],
    expected: [1, 1],
    show: (values) =>
      values.length === 1 ? Object.values(values[0] as { index: number; offset: number }) : values,
    fails: { args: () => [9, { wait: false }], code: 'ERR_SEEK_OUT_OF_BOUNDS' }
  },
  clear: { args: () => [0, 2], expected: undefined, fails: { args: () => [-1], code: 'ERR_OUT_OF_RANGE' } },
  truncate: { args: () => [2], expected: undefined, fails: { args: () => [9], code: 'ERR_NODE_NOT_FOUND' } },
  signature: {
    args: () => [0],
    expected: ['index', 'signature'],
    show: keys,
    fails: { args: () => [9], code: 'ERR_NO_SIGNATURE', atOnce: true }
  },
  verify: {
    args: (_feed, known) => [2, known.signature],
    expected: true,
    fails: { args: () => [2, Buffer.alloc(64)], code: 'ERR_SIGNATURE_INVALID' }
  },
  rootHashes: {
    args: () => [2],
    expected: [1, 4],
    show: ([roots]) => (roots as { index: number }[]).map(({ index }) => index),
    fails: { args: () => [9], code: 'ERR_ROOTS_MISSING' }
  },
  proof: {
    args: () => [0],
    expected: ['nodes', 'signature'],
    show: keys,
    fails: { args: () => [9], code: 'ERR_NO_PROOF' }
  },
  put: {
    args: (_feed, known) => [0, 'a', known.proof()],
    expected: undefined,
    fails: { args: (known) => [0, 'x', known.proof()], code: 'ERR_PROOF_CHECKSUM' }
  },
  audit: {
    args: () => [],
    expected: { valid: 3, invalid: 0 },
    show: ([report]) => ({ ...(report as object) })
  },
  finalize: { args: () => [], expected: undefined },
  close: { args: () => [], expected: undefined },
  destroyStorage: { args: () => [], expected: undefined }
}
