/** Every error of the swarm: its stable code and its default text. README.md says for each code what to do. */
const MESSAGES = {
  ERR_SWARM_CLOSED: 'The swarm is closed',
  ERR_ADDRESS: 'This is no address: write host:port, ws://host:port or wss://host',
  ERR_PORT_IN_USE: 'The port is in use by another program',
  ERR_LISTEN: 'The port cannot be listened on',
  ERR_CONNECTION_REFUSED: 'Nothing listens at this address',
  ERR_CONNECT: 'No connection to this address',
  ERR_CONNECT_TIMEOUT: 'The address did not answer in time',
  ERR_CONNECTION_LOST: 'The connection was lost',
  ERR_SELF: 'The connection leads back to this swarm',
  ERR_DUPLICATE: 'There is a newer connection to the same peer',
  ERR_MAX_PEERS: 'There are as many connections as allowed',
  ERR_NOT_WELCOME: 'The application does not welcome this peer',
  ERR_DIALECT: 'The feed is of another dialect than the swarm',
  ERR_FEED_UNUSABLE: 'The feed cannot be shared, because it could not be opened',
  ERR_OPEN_HOOK: 'The function that opens feeds on demand failed',
  ERR_DHT: 'The network of peers cannot be used'
} as const

/** A stable code of a {@link SwarmError}. */
export type SwarmErrorCode = keyof typeof MESSAGES

/** An error of the swarm with a stable `code`; `cause` is the underlying error if there is one. */
export class SwarmError extends Error {
  /** Stable code. */
  readonly code: SwarmErrorCode

  /**
   * @param code - what went wrong
   * @param detail - `about` is put behind the text of the code: an address, a port
   */
  constructor(code: SwarmErrorCode, detail: { about?: string | undefined; cause?: unknown } = {}) {
    const text = detail.about === undefined ? MESSAGES[code] : `${MESSAGES[code]} (${detail.about})`
    super(text, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'SwarmError'
    this.code = code
  }
}

/** A wrong argument type: a TypeError with code `ERR_INVALID_ARG_TYPE`. */
export function argumentTypeError(message: string): TypeError & { code: string } {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' })
}

/** A number outside its range: a RangeError with code `ERR_OUT_OF_RANGE`. */
export function argumentRangeError(message: string): RangeError & { code: string } {
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' })
}
