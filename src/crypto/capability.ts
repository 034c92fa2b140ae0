/**
 * Capabilities (spec WIRE §6): the proof, sent when a channel is opened, that a side knows the feed's public key. It is
 * bound to the session by the handshake's split keys, so it can be neither made by an eavesdropper nor replayed.
 */
import b4a from 'b4a'
import { blake2bBatch } from '#crypto/backend'
import type { Dialect } from '../dialect.ts'

/** Bytes of a capability. */
export const CAPABILITY_SIZE = 32

/** The two 32 byte keys that a handshake ends with, from the view of one side. */
export interface Split {
  /** Key of the direction in which this side sends. */
  tx: Uint8Array
  /** Key of the direction in which this side receives. */
  rx: Uint8Array
}

/** What this side sends for the feed `publicKey`: BLAKE2b-256 keyed with rx over (the dialect's string ‖ tx ‖ publicKey). */
export function capability(publicKey: Uint8Array, split: Split, dialect: Dialect): Uint8Array {
  return hash(publicKey, split.tx, split.rx, dialect)
}

/** What the other side has to send for the feed `publicKey`: the same with the two keys exchanged. */
export function remoteCapability(publicKey: Uint8Array, split: Split, dialect: Dialect): Uint8Array {
  return hash(publicKey, split.rx, split.tx, dialect)
}

function hash(publicKey: Uint8Array, tx: Uint8Array, rx: Uint8Array, dialect: Dialect): Uint8Array {
  const out = b4a.allocUnsafe(CAPABILITY_SIZE)
  blake2bBatch(out, [b4a.from(dialect.capability), tx, publicKey], rx)
  return out
}
