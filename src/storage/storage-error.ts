import { codeOf, DDatabaseError, isArgumentError, reasonOf } from '../errors.ts'

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

/** Whether the process, or the system, has no more descriptors: of the file itself it says nothing. */
export function noneLeft(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'EMFILE' || code === 'ENFILE'
}
