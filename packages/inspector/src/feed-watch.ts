import type { Damage, Feed, FeedEvents } from 'ddatabase'
import { AuditJob } from './audit-job.ts'
import type { BlockState, FeedDetail, FeedSummary, Warning } from './messages.ts'
import { PeerNumbers, Sent, summarisePeer } from './peers.ts'
import { Ranges } from './ranges.ts'

/** Warnings kept for a feed: the oldest make room. */
const MAX_WARNINGS = 50
/** How long a count of blocks is taken for true if no event said otherwise, in milliseconds. */
const COUNT_AGE = 5000

const CHANGES = [
  'ready',
  'append',
  'download',
  'sync',
  'close',
  'peer-add',
  'peer-open',
  'peer-remove',
  'fork'
] as const

/** What is known of a feed beside what it says itself: which of its missing blocks were cleared, or damaged, and what was noticed. */
export class FeedWatch {
  readonly id: string
  readonly name: string
  readonly feed: Feed<unknown>
  /** Blocks that were cleared while this watched. Those that came back count as present. */
  readonly cleared = new Ranges()
  /** Blocks that were found damaged while this watched, or when the feed was opened. */
  readonly damaged = new Ranges()
  /** Goes up with everything that can be seen in a map of the blocks. */
  revision = 0
  readonly #warnings: Warning[] = []
  readonly #forget: (() => void)[] = []
  #behind = 0
  readonly #peerNumbers = new PeerNumbers()
  readonly #sent = new Sent()
  #failure: Error | null = null
  #audit: AuditJob | null = null
  #count = { revision: -1, time: 0, blocks: 0 }

  constructor(id: string, feed: Feed<unknown>, name: string | undefined) {
    this.id = id
    this.feed = feed
    this.name = name ?? ''
    const changed = () => {
      this.revision++
    }
    for (const event of CHANGES) this.#on(event, changed)
    this.#on('clear', (start, end) => {
      this.cleared.add(start, end)
      changed()
    })
    this.#on('upload', (block, _value, peer) => this.#sent.note(peer, block))
    this.#on('damage', (damage, repaired) => this.#noteDamage(damage, repaired))
    this.#on('behind', (length) => {
      this.#behind = length
      changed()
    })
    feed.ready().then(
      () => this.#opened(),
      (error: Error) => {
        this.#failure = error
        changed()
      }
    )
  }

  /** Whether there is an open feed to look into. */
  get usable(): boolean {
    return this.feed.opened && !this.feed.closed && this.feed.bitfield !== null
  }

  /** Stops listening, and ends an audit. */
  close(): void {
    for (const forget of this.#forget) forget()
    this.#audit?.cancel()
  }

  /** What became of one block. */
  stateOf(block: number): BlockState {
    const { feed } = this
    if (feed.has(block)) return 'present'
    const asked = feed.peers.some((peer) =>
      peer.inflightRequests.some((request) => request.index === block && !request.hash)
    )
    if (asked) return 'downloading'
    if (this.damaged.has(block)) return 'damaged'
    return this.ownsEveryBlock || this.cleared.has(block) ? 'cleared' : 'missing'
  }

  /** A writer has had every block: what is missing was cleared, if it was not damaged. */
  get ownsEveryBlock(): boolean {
    return this.feed.writable
  }

  /** The feed in the list. */
  summary(): FeedSummary {
    const { feed } = this
    const key = feed.key === null ? null : Buffer.from(feed.key).toString('hex')
    return {
      id: this.id,
      name: this.name || (key === null ? `feed ${this.id}` : `${key.slice(0, 12)}…`),
      key,
      state: this.#state(),
      length: feed.length,
      byteLength: feed.byteLength,
      present: this.usable ? this.#present() : 0,
      writable: feed.writable,
      peers: feed.peers.length,
      warnings: this.#allWarnings()
    }
  }

  /** What a page that looks at the feed follows. */
  detail(): FeedDetail {
    const { feed } = this
    return {
      id: this.id,
      discoveryKey: feed.discoveryKey === null ? null : Buffer.from(feed.discoveryKey).toString('hex'),
      sparse: feed.sparse,
      live: feed.live,
      remoteLength: feed.remoteLength,
      revision: this.revision,
      transfers: feed.stats === null ? null : { ...feed.stats.totals },
      time: Date.now(),
      peers: feed.peers.map((peer) => summarisePeer(peer, this.#peerNumbers.of(peer), feed, this.#sent)),
      audit: this.#audit?.report() ?? null
    }
  }

  /** Begins an audit, unless one is running. What it finds comes as events, too. */
  startAudit(repair: boolean): void {
    if (this.#audit?.running) return
    this.#audit = new AuditJob(this.feed, repair)
    this.#audit.done.then(() => {
      this.revision++
    })
  }

  /** Ends an audit early. */
  cancelAudit(): void {
    this.#audit?.cancel()
  }

  #opened(): void {
    const { recovery } = this.feed
    if (recovery !== null) {
      this.#warn(
        'recovered',
        `Opening repaired what a crash had left: ${recovery.lostBlocks} blocks lost, ${recovery.foundBlocks} found again, ${recovery.healedNodes} nodes of the tree made anew.`
      )
      for (const damage of recovery.damage) this.#noteDamage(damage, false)
    }
    this.revision++
  }

  #noteDamage({ file, start, end, problem }: Damage, repaired: boolean): void {
    if (!repaired && file === 'data') this.damaged.add(start, end)
    const outcome = repaired ? 'It was mended.' : 'What could not be mended is not given out any more.'
    this.#warn('damage', `${file}: ${problem}, ${range(start, end)}. ${outcome}`)
  }

  #warn(kind: Warning['kind'], text: string): void {
    this.revision++
    if (this.#warnings.some((warning) => warning.kind === kind && warning.text === text)) return
    this.#warnings.push({ kind, text })
    if (this.#warnings.length > MAX_WARNINGS) this.#warnings.shift()
  }

  #allWarnings(): Warning[] {
    if (this.#failure !== null) {
      const { message } = this.#failure
      const { code } = this.#failure as { code?: unknown }
      return [{ kind: 'failed', text: typeof code === 'string' ? `${message} (${code})` : message }]
    }
    const { feed } = this
    const warnings = [...this.#warnings]
    for (const { heads } of feed.forks) {
      const text = `The key of this feed has signed another history, of ${heads[1].length} blocks. What is here was kept; peers of the other one are refused.`
      warnings.push({ kind: 'fork', text })
    }
    if (feed.writable && this.#behind > feed.length) {
      const text = `A history of ${this.#behind} blocks is signed, and only ${feed.length} are here: appending is refused.`
      warnings.push({ kind: 'behind', text })
    }
    if (feed.closed) warnings.push({ kind: 'closed', text: 'The feed was closed.' })
    return warnings
  }

  #state(): FeedSummary['state'] {
    if (this.#failure !== null) return 'failed'
    if (this.feed.closed) return 'closed'
    return this.usable ? 'open' : 'opening'
  }

  #present(): number {
    const now = Date.now()
    // Counting ten million bits takes a millisecond or two: not for every client and every time.
    if (this.#count.revision !== this.revision || now - this.#count.time > COUNT_AGE) {
      this.#count = { revision: this.revision, time: now, blocks: this.feed.downloaded() }
    }
    return this.#count.blocks
  }

  #on<Event extends keyof FeedEvents>(event: Event, listener: (...values: FeedEvents[Event]) => void): void {
    this.feed.on(event, listener)
    this.#forget.push(() => this.feed.removeListener(event, listener))
  }
}

function range(start: number, end: number): string {
  return end - start === 1 ? `block ${start}` : `blocks ${start} to ${end - 1}`
}
