import { DDatabaseError, isArgumentError, reasonOf } from '../errors.ts'

/** An error of a storage as one of ours, with the storage's as cause; ours pass through. */
export function storageError(error: unknown): Error {
  if (DDatabaseError.is(error) || isArgumentError(error)) return error
  const reason = reasonOf(error)
  // The lock of a foreign file storage keeps the code that callers know.
  const code = (error as { code?: unknown } | null)?.code === 'ELOCKED' ? 'ELOCKED' : 'ERR_STORAGE'
  return new DDatabaseError(code, {
    message: code === 'ELOCKED' ? reason : `The storage failed: ${reason}`,
    cause: error
  })
}
