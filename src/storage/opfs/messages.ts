/**
 * What page and worker say to each other: calls one way, answers the other, both in batches.
 *
 * The bytes of all writes of a batch lie in one buffer that was made for it and moves to the worker, so the
 * application's own buffers are neither moved nor, as by a plain message, copied whole for the sake of a small view.
 * The answer to a read moves its buffer likewise.
 */
import { DDatabaseError, type ErrorCode, isArgumentError } from '../../errors.ts'
import type { FilePath } from './access-file.ts'

/** Changes whenever the messages do: a page may have been deployed with the worker of another version. */
export const VERSION = 1

/** One call; `file` is the number that opening it gave. */
export type Call =
  | { op: 'open'; path: FilePath; create: boolean }
  | { op: 'remove'; path: FilePath }
  | { op: 'read'; file: number; offset: number; size: number }
  /** `start` and `size`: which bytes of the batch. */
  | { op: 'write'; file: number; offset: number; start: number; size: number }
  | { op: 'del'; file: number; offset: number; size: number }
  | { op: 'truncate'; file: number; size: number }
  | { op: 'size' | 'flush' | 'close'; file: number }

/** From the page. */
export interface CallMessage {
  ddatabase: 'calls'
  version: number
  /** Each with the number that its answer will bear. */
  calls: { id: number; call: Call }[]
  bytes: ArrayBuffer | null
}

/** The outcome of one call. */
export type Answer = { id: number; value: unknown } | { id: number; error: PlainError }

/** From the worker. */
export interface AnswerMessage {
  ddatabase: 'answers'
  answers: Answer[]
}

/** An error as a message can carry it: cloning an error would lose its code. */
export interface PlainError {
  name: string
  message: string
  code: string | null
  kind: 'ours' | 'argument' | 'other'
  cause: PlainError | null
}

/** Whether a message is one of ours: a worker, or a page, may have others. */
export function isMessage<M extends CallMessage | AnswerMessage>(
  data: unknown,
  kind: M['ddatabase']
): data is M {
  return typeof data === 'object' && data !== null && (data as { ddatabase?: unknown }).ddatabase === kind
}

/** For the way to the page. */
export function encodeError(error: unknown): PlainError {
  const { name, message, code, cause } = (error ?? {}) as Partial<Error> & { code?: unknown }
  return {
    name: String(name ?? 'Error'),
    message: String(message ?? error),
    // DOMExceptions have a number here.
    code: typeof code === 'string' ? code : null,
    kind: DDatabaseError.is(error) ? 'ours' : isArgumentError(error) ? 'argument' : 'other',
    cause: cause === undefined ? null : encodeError(cause)
  }
}

/** Back from {@link encodeError}. */
export function decodeError(plain: PlainError): Error {
  const cause = plain.cause === null ? undefined : decodeError(plain.cause)
  if (plain.kind === 'ours')
    return new DDatabaseError(plain.code as ErrorCode, { message: plain.message, cause })
  const Kind = plain.name === 'RangeError' ? RangeError : plain.name === 'TypeError' ? TypeError : Error
  const error = new Kind(plain.message, cause === undefined ? undefined : { cause })
  if (error.name !== plain.name)
    Object.defineProperty(error, 'name', { value: plain.name, configurable: true })
  return plain.code === null ? error : Object.assign(error, { code: plain.code })
}
