/**
 * What differs between the two families of feeds that share this format: the strings that separate their
 * discovery keys and capabilities, and two texts (spec FORMAT, first table).
 */
export interface Dialect {
  /** Name in error texts, and the message of the discovery key hash. */
  readonly name: 'ddatabase' | 'hypercore'
  /** First word of `util.inspect` output. */
  readonly inspectName: string
  /** Prefix of the hashed capability message. */
  readonly capability: string
}

/** The dialect of the package's main entry point. */
export const DDATABASE: Dialect = {
  name: 'ddatabase',
  inspectName: 'DDatabase',
  capability: 'ddatabase capability'
}

/** The dialect of `ddatabase/hypercore`. */
export const HYPERCORE: Dialect = {
  name: 'hypercore',
  inspectName: 'Hypercore',
  capability: 'hypercore capability'
}
