/** What a remote says it has (spec WIRE §11.2): believed within bounds, and no further than it can be asked for it. */
import { decode as decodeRle } from '../bitfield/rle.ts'
import { DDatabaseError } from '../errors.ts'
import type { Peer } from './peer.ts'

// What a Have may announce block by block; of more it is looked up which ones are waited for.
const SHORT_RANGE = 64

/** The remote's blocks from `start` on are those of an encoded bitfield. Errors: `ERR_MESSAGE_INVALID`, `ERR_MALFORMED_RLE`, `ERR_LIMIT`. */
export function claimBitfield(peer: Peer, start: number, bitfield: Uint8Array): void {
  if (start % 8 !== 0) throw new DDatabaseError('ERR_MESSAGE_INVALID')
  const bytes = decodeRle(bitfield, peer.limits.bitfieldSize)
  const end = start + 8 * bytes.length
  checkLength(peer, end)
  peer.remoteBitfield.replace(start, bytes)
  // A window without a block says nothing of the length.
  const length = lengthOf(bytes)
  if (length > 0) peer.remoteLength = Math.max(peer.remoteLength, start + length)
  offerWished(peer, start, end)
}

/** The remote has `length` blocks from `start` on. Errors: `ERR_LIMIT`. */
export function claimRange(peer: Peer, start: number, length: number): void {
  if (length > peer.limits.haveRange) {
    throw new DDatabaseError('ERR_LIMIT', { message: 'A Have is too long' })
  }
  checkLength(peer, start + length)
  peer.remoteBitfield.setRange(start, start + length, true)
  peer.remoteLength = Math.max(peer.remoteLength, start + length)
  offerWished(peer, start, start + length)
}

function checkLength(peer: Peer, length: number): void {
  if (length > peer.limits.remoteLength) {
    throw new DDatabaseError('ERR_LIMIT', { message: 'The remote claims too many blocks' })
  }
}

/** Calls may wait for some of the blocks that the remote has. */
function offerWished({ source, downloader: { wished } }: Peer, start: number, end: number): void {
  if (end - start <= SHORT_RANGE) {
    for (let index = start; index < end; index++) if (source.isWished(index)) wished.add(index)
    return
  }
  for (const index of source.wishedBlocks()) if (index >= start && index < end) wished.add(index)
}

/** One past the highest bit that is set. */
function lengthOf(bytes: Uint8Array): number {
  for (let i = bytes.length - 1; i >= 0; i--) {
    const byte = bytes[i]!
    // The last bit of a byte is its lowest one.
    if (byte !== 0) return 8 * i + 8 - (31 - Math.clz32(byte & -byte))
  }
  return 0
}
