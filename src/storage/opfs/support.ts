import { DDatabaseError } from '../../errors.ts'
import { web } from './web.ts'

const INSTEAD =
  'Keep the feed in memory instead (random-access-memory), or give it a storage function of your own'

/** `ERR_UNSUPPORTED_RUNTIME`: says what is missing and what to use instead. */
export function unsupported(missing: string, cause?: unknown): DDatabaseError {
  return new DDatabaseError('ERR_UNSUPPORTED_RUNTIME', {
    message: `No persistent storage here: ${missing}. ${INSTEAD}`,
    cause
  })
}

/**
 * Checks what can be checked without opening anything.
 * @param needsWorker - whether a worker has to be started
 * Errors: `ERR_UNSUPPORTED_RUNTIME`
 */
export function requireSupport(needsWorker: boolean): void {
  if (web.navigator?.storage?.getDirectory === undefined) {
    throw unsupported(
      web.isSecureContext === false
        ? 'the page is not a secure context (served over HTTPS, or from localhost), so there is no navigator.storage.getDirectory'
        : 'this runtime has no origin private file system (navigator.storage.getDirectory)'
    )
  }
  if (needsWorker && typeof web.Worker !== 'function') {
    throw unsupported('this is no dedicated worker and cannot start one (Worker)')
  }
}
