/**
 * Every error this library makes, in one table: its stable code and its default text.
 *
 * Texts that the published packages had are kept word for word (callers match on them); codes are ours,
 * except `ECANCELED`, `ETIMEDOUT` and `ELOCKED`, which the published packages already used.
 * `docs/errors.md` says for each code when it happens and what to do.
 */
const MESSAGES = {
  // life cycle
  ERR_FEED_CLOSED: 'Feed is closed',
  ERR_RESOURCE_CLOSED: 'Resource is closed',
  ERR_FEED_NOT_OPEN: 'Feed is not open yet',

  // opening
  ELOCKED: 'ELOCKED: File is locked',
  ERR_OTHER_FEED: 'Another ddatabase is stored here',
  ERR_NO_FEED: 'No ddatabase is stored here',
  ERR_NOT_WRITABLE_OPTION: 'Feed is not writable',
  ERR_KEY_MISSING: 'The key is missing beside the content of a feed',
  ERR_KEY_DAMAGED: 'The stored key is damaged',
  ERR_SECRET_KEY_DAMAGED: 'The stored secret key is damaged',
  ERR_SECRET_KEY_MISMATCH: 'The secret key does not belong to the key',
  ERR_HEADER_INVALID: 'A storage file has a foreign or damaged header',
  ERR_FEED_DAMAGED: 'The stored feed is damaged',
  ERR_STORAGE: 'The storage failed',
  ERR_DURABILITY: 'The storage cannot be synchronised, so durability "disk" is out of its reach',
  ERR_STORAGE_WORKER: 'The worker of the storage failed',
  ERR_UNSUPPORTED_RUNTIME: 'This runtime has no persistent storage',

  // writing
  ERR_NOT_WRITABLE: 'This feed is not writable. Did you create it?',
  ERR_BEHIND: 'A longer history of this feed is signed than is here; appending would sign it a second time',
  ERR_BLOCK_TOO_LARGE: 'Individual blocks has be less than 8MB',
  ERR_ENCODING: 'The value could not be encoded',
  ERR_DECODING: 'The block could not be decoded',
  ERR_SIGNING: 'The signer failed',
  ERR_VERIFYING: 'The verifier failed',
  ERR_WRITE_REFUSED:
    'The feed refuses writes until it is reopened, because a failed write could not be undone',

  // reading
  ERR_BLOCK_NOT_DOWNLOADED: 'Block not downloaded',
  ERR_BLOCK_DAMAGED: 'The block is damaged in the storage, and no peer has it',
  ERR_BLOCK_NOT_AVAILABLE: 'Block not available from peers',
  ERR_UPDATE_NOT_AVAILABLE: 'No update available from peers',
  ERR_SEEK_NOT_AVAILABLE: 'Seek not available from peers',
  ERR_UNEXPECTED_LENGTH: 'Expected length is less than current length',
  ERR_FEED_EMPTY: 'feed is empty',
  ERR_SEEK_NOT_FOUND: 'Unable to seek to this offset',
  ERR_SEEK_OUT_OF_BOUNDS: 'Out of bounds',
  ERR_REQUEST_CANCELLED: 'Request cancelled',
  ECANCELED: 'Download was cancelled',
  ETIMEDOUT: 'ETIMEDOUT',

  // proofs and signatures
  ERR_NO_SIGNATURE: 'No signature available for this index',
  ERR_SIGNATURE_NOT_FOUND: 'No signature found',
  ERR_SIGNATURE_INVALID: 'Signature verification failed',
  ERR_ROOTS_MISSING: 'Missing tree roots needed for verify',
  ERR_NO_PROOF: 'No proof available for this index',
  ERR_NODE_NOT_FOUND: 'No node found',
  ERR_DATA_SIZE: 'Unexpected data size',
  ERR_PROOF_NO_SIGNATURE: 'Remote did not include a signature',
  ERR_PROOF_SIGNATURE: 'Remote signature could not be verified',
  ERR_PROOF_CHECKSUM: 'Remote checksum failed',
  ERR_PROOF_MALFORMED: 'The proof is malformed',

  // replication
  ERR_HANDSHAKE: 'Noise handshake error',
  ERR_HANDSHAKE_ROLES: 'Noise handshake error',
  ERR_HANDSHAKE_SIZE: 'The handshake message is larger than allowed',
  ERR_HANDSHAKE_TIMEOUT: 'The handshake took too long',
  ERR_HANDSHAKE_PAYLOAD_MISSING: 'Remote did not include a handshake payload',
  ERR_HANDSHAKE_PAYLOAD: 'Could not parse remote payload',
  ERR_AUTHENTICATION_REFUSED: 'Noise handshake error',
  ERR_NOT_AUTHENTICATED: 'The remote does not speak the authenticated transport',
  ERR_KEY_PAIR: 'The key pair of the stream could not be had',
  ERR_CAPABILITY: 'Invalid remote channel capability',
  ERR_CHANNEL: 'The remote opened a channel in a way the protocol forbids',
  ERR_RECORD: 'What was received is not what the remote sent',
  ERR_FRAME_SIZE: 'Incoming message is larger than max size',
  ERR_VARINT: 'Incoming varint is invalid',
  ERR_MESSAGE_INVALID: 'Decoded message is not valid',
  ERR_MESSAGE_MALFORMED: 'The message is malformed',
  ERR_MALFORMED_RLE: 'The run-length encoded bitfield is malformed',
  ERR_MESSAGE_TOO_LARGE: 'The message does not fit into a frame',
  ERR_LIMIT: 'The remote exceeded a limit',
  ERR_OUTPUT_LIMIT: 'The remote does not read what it is sent',
  ERR_STREAM_TRUNCATED: 'The connection ended in the middle of a message',
  ERR_STREAM_HANDLER: 'A handler of the stream failed',
  ERR_REQUEST_TIMEOUT: 'Request timeout',
  ERR_FORK: 'The remote has another history of this feed, signed with the same key'
} as const

/** A stable error code. */
export type ErrorCode = keyof typeof MESSAGES

/** Codes of wrong arguments; they come with a TypeError or a RangeError. */
export type ArgumentErrorCode = 'ERR_INVALID_ARG_TYPE' | 'ERR_INVALID_ARG_VALUE' | 'ERR_OUT_OF_RANGE'

// `Symbol.for` so that two copies of this package in one process recognise each other's errors.
const BRAND = Symbol.for('ddatabase.error')

const CANCELLATIONS: ReadonlySet<ErrorCode> = new Set(['ECANCELED', 'ERR_REQUEST_CANCELLED'])

/** Something stored that does not hold. */
export interface Damage {
  /** The file that is damaged. */
  file: 'data' | 'tree' | 'signatures' | 'bitfield' | 'key' | 'secret_key'
  /** What is wrong with it. */
  problem: string
  /** The blocks it concerns: from the first … */
  start: number
  /** … to one more than the last. */
  end: number
}

/** An error with a stable `code`; `cause` is the underlying error if there is one. */
export class DDatabaseError extends Error {
  /** Stable code, one of {@link ErrorCode}. */
  readonly code: ErrorCode
  /** Only with `ECANCELED`: the number the published packages gave, −11. */
  declare readonly errno?: number
  /** Only with `ERR_FEED_DAMAGED` and `ERR_BLOCK_DAMAGED`: what is damaged, as far as it is known. */
  declare readonly damage?: readonly Damage[]

  /**
   * @param code - what went wrong
   * @param detail - `message` replaces the default text, `cause` is the underlying error, `damage` see {@link damage}
   */
  constructor(
    code: ErrorCode,
    detail: { message?: string | undefined; cause?: unknown; damage?: readonly Damage[] } = {}
  ) {
    const cause = detail.cause === undefined ? undefined : { cause: detail.cause }
    super(detail.message ?? MESSAGES[code], cause)
    this.name = CANCELLATIONS.has(code) ? 'AbortError' : 'DDatabaseError'
    this.code = code
    if (code === 'ECANCELED') this.errno = -11
    if (detail.damage !== undefined) this.damage = detail.damage
    Object.defineProperty(this, BRAND, { value: true })
  }

  /** Whether `error` is a DDatabaseError, of this or another copy of the package. */
  static is(error: unknown): error is DDatabaseError {
    return typeof error === 'object' && error !== null && BRAND in error
  }
}

/** A wrong argument type: a TypeError with code `ERR_INVALID_ARG_TYPE`. */
export function argumentTypeError(message: string): TypeError & { code: ArgumentErrorCode } {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' as const })
}

/** An argument of the right type whose content cannot be used: a TypeError with code `ERR_INVALID_ARG_VALUE`. */
export function argumentValueError(
  message: string,
  cause?: unknown
): TypeError & { code: ArgumentErrorCode } {
  const error = new TypeError(message, cause === undefined ? undefined : { cause })
  return Object.assign(error, { code: 'ERR_INVALID_ARG_VALUE' as const })
}

/** A number outside its range: a RangeError with code `ERR_OUT_OF_RANGE`. */
export function argumentRangeError(message: string): RangeError & { code: ArgumentErrorCode } {
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' as const })
}

const ARGUMENT_CODES: ReadonlySet<unknown> = new Set<ArgumentErrorCode>([
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE'
])

/** Whether `error` says that an argument was wrong. */
export function isArgumentError(error: unknown): error is Error & { code: ArgumentErrorCode } {
  return error instanceof Error && ARGUMENT_CODES.has((error as { code?: unknown }).code)
}

/** What anything that was thrown says of itself; applications throw what they like. */
export function reasonOf(thrown: unknown): string {
  try {
    // What has come from another process, or realm, is no Error here.
    const message = (thrown as { message?: unknown } | null | undefined)?.message
    return String(typeof message === 'string' ? message : thrown)
  } catch {
    return 'something was thrown that cannot be shown'
  }
}

/** The code of what was thrown, if it has one. */
export function codeOf(thrown: unknown): unknown {
  return (thrown as { code?: unknown } | null)?.code
}
