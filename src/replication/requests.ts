import type { Channel } from './channel.ts'

/** Calls that wait get this many requests more than downloads, so that a full download cannot hold them up. */
export const URGENT_REQUESTS = 16

/** A request that was sent and is not answered yet. */
export interface InflightRequest {
  readonly index: number
  /** The byte offset sought, 0 for an ordinary request. */
  readonly bytes: number
  readonly hash: boolean
  readonly nodes: number
}

/** The blocks that have been requested from any peer of a feed, so that none is asked for twice. */
export class Reservations {
  private readonly blocks = new Set<number>()

  has(block: number): boolean {
    return this.blocks.has(block)
  }

  /** @returns false if the block was reserved already */
  take(block: number): boolean {
    if (this.blocks.has(block)) return false
    this.blocks.add(block)
    return true
  }

  release(block: number): void {
    this.blocks.delete(block)
  }
}

/** Sends a request; all four fields are always written, as the published peers do. */
export function sendRequest(channel: Channel, request: InflightRequest): void {
  channel.request({ index: request.index, bytes: request.bytes, hash: request.hash, nodes: request.nodes })
}
