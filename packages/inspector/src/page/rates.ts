import type { FeedDetail } from '../messages.ts'

/** Samples that are kept: two minutes of two in a second. */
const KEPT = 240
/** Over how many samples a rate is taken. */
const OVER = 4

/** Bytes that a peer has sent and received at one time. */
interface Sample {
  time: number
  totals: Map<number, { down: number; up: number }>
}

/** Rates of one peer over time, in bytes a second; null where it was not there. */
export interface RateSeries {
  peer: number
  down: (number | null)[]
  up: (number | null)[]
}

/** What peers have transferred lately. Peer 0 stands for all of them. */
export class RateHistory {
  #samples: Sample[] = []

  /** Notes what is now. */
  add(detail: FeedDetail): void {
    const totals = new Map<number, { down: number; up: number }>()
    const { transfers } = detail
    if (transfers !== null) totals.set(0, { down: transfers.downloadedBytes, up: transfers.uploadedBytes })
    for (const peer of detail.peers) {
      if (peer.transfers === null) continue
      totals.set(peer.id, { down: peer.transfers.downloadedBytes, up: peer.transfers.uploadedBytes })
    }
    this.#samples.push({ time: detail.time, totals })
    if (this.#samples.length > KEPT) this.#samples.shift()
  }

  /** When the samples were taken, in seconds. */
  times(): number[] {
    return this.#samples.map(({ time }) => time / 1000)
  }

  /** Peers that there are samples of, ascending. */
  peers(): number[] {
    const peers = new Set<number>()
    for (const { totals } of this.#samples) for (const peer of totals.keys()) peers.add(peer)
    return [...peers].sort((a, b) => a - b)
  }

  /** The rates of a peer at each of the times. */
  series(peer: number): RateSeries {
    const down: (number | null)[] = []
    const up: (number | null)[] = []
    for (const [at, sample] of this.#samples.entries()) {
      const now = sample.totals.get(peer)
      const earlier = this.#samples[Math.max(0, at - OVER)]!
      const before = earlier.totals.get(peer) ?? (now && { down: 0, up: 0 })
      if (now === undefined || before === undefined) {
        down.push(null)
        up.push(null)
        continue
      }
      const seconds = Math.max(0.001, (sample.time - earlier.time) / 1000)
      const first = earlier === sample
      down.push(first ? 0 : Math.max(0, now.down - before.down) / seconds)
      up.push(first ? 0 : Math.max(0, now.up - before.up) / seconds)
    }
    return { peer, down, up }
  }

  /** The newest rates of a peer. */
  latest(peer: number): { down: number; up: number } {
    const { down, up } = this.series(peer)
    return { down: down.at(-1) ?? 0, up: up.at(-1) ?? 0 }
  }
}
