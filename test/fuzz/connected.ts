/**
 * Arguments that nobody expects, to the methods of a feed that is connected to a peer, and of its end of the connection.
 *
 * Beside what must hold of each call: the peer, whose application does nothing strange, is not harmed. What it gets is true, its calls end,
 * and its connection ends with an error that has a code, if with any.
 */
import ddatabase, { type Feed } from '../../src/index.ts'
import type { ProtocolStream } from '../../src/replication/stream.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { METHODS, NastyCalls, PATIENCE, STREAM_METHODS } from './nasty-calls.ts'
import { guarded, type Outcome } from './outcome.ts'

type AnyFeed = Feed<unknown>

const BLOCKS = Array.from({ length: 40 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')
// Milliseconds that a call of the peer may wait for a feed that was told not to answer.
const BRIEF = 60

/** Runs one seed. */
export function fuzzConnected(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new Run(new SeededRandom(seed), problems).go())
}

class Run {
  readonly #random: SeededRandom
  readonly #problems: string[]
  readonly #calls: NastyCalls
  readonly #ends: ProtocolStream[] = []
  readonly #ended: Promise<unknown>[] = []

  constructor(random: SeededRandom, problems: string[]) {
    this.#random = random
    this.#problems = problems
    this.#calls = new NastyCalls(random, problems, BLOCKS.length + 1)
  }

  async go(): Promise<string> {
    const random = this.#random
    const writes = random.chance(0.5)
    const author = ddatabase(new MemoryFiles().factory() as never) as AnyFeed
    await author.append(BLOCKS)
    const copy = ddatabase(new MemoryFiles().factory() as never, author.key, {
      sparse: random.chance(0.6)
    }) as AnyFeed
    await copy.ready()
    const [strange, peer] = writes ? [author, copy] : [copy, author]
    strange.on('error', () => {})
    peer.on('error', (error: unknown) => this.#problems.push(`the peer: ${String(error)}`))

    const [stream] = this.#connect(strange, peer)
    for (let left = random.between(3, 20); left > 0; left--) {
      if (random.chance(0.15)) this.#calls.call(stream, random.pick(STREAM_METHODS), this.#calls.arguments())
      else this.#calls.call(strange, random.pick(METHODS), this.#calls.arguments())
      if (random.chance(0.3)) await settle(1)
      if (random.chance(0.3)) await this.#usePeer(peer, writes)
    }
    await settle(5)
    await this.#usePeer(peer, writes)
    this.#connect(strange, peer)
    for (let i = 0; i < 3; i++) await this.#usePeer(peer, writes)
    const { invalid } = await within(peer.audit(), 'audit of the peer', PATIENCE)
    if (invalid !== 0) this.#problems.push(`the peer has ${invalid} blocks that do not hold`)

    this.#calls.endStreams()
    await within(Promise.all([strange.close(), peer.close()]), 'close', PATIENCE)
    for (const end of this.#ends) end.destroy()
    await within(Promise.all(this.#ended), 'the end of the connections', PATIENCE)
    await this.#calls.settled()
    this.#calls.countCallbacks()
    return writes ? 'author' : 'copy'
  }

  #connect(strange: AnyFeed, peer: AnyFeed): [ProtocolStream, ProtocolStream] {
    const random = this.#random
    const options = { live: random.chance(0.8), ...(random.chance(0.3) && { ack: true }) }
    const initiates = random.chance(0.5)
    const ends = [strange.replicate(initiates, options), peer.replicate(!initiates, { live: true })] as const
    for (const end of ends) {
      end.on('error', (error: unknown) => this.#calls.judge('the connection', error))
      this.#ends.push(end)
      this.#ended.push(new Promise((resolve) => end.on('close', () => resolve(null))))
    }
    ends[0].pipe(ends[1]).pipe(ends[0])
    return [...ends]
  }

  /** What an application does with its feed. Only blocks that were there from the start have to be what they were. */
  async #usePeer(peer: AnyFeed, reads: boolean): Promise<void> {
    const random = this.#random
    const index = random.below(BLOCKS.length)
    const judge = (error: unknown): null => {
      this.#calls.judge(`the peer's call`, error)
      return null
    }
    if (!reads) {
      if (random.chance(0.3)) await within(peer.append(NEXT), 'append of the peer', PATIENCE)
      const own = await within(peer.get(index), 'get of the author', PATIENCE)
      if (!BLOCKS[index]!.equals(own as Uint8Array))
        this.#problems.push(`block ${index} of the author is wrong`)
      return
    }
    const got = await within(peer.get(index, { timeout: BRIEF }).catch(judge), 'get of the peer', PATIENCE)
    // An author may cut the feed, and append something else.
    if (got !== null && peer.length >= BLOCKS.length && !BLOCKS[index]!.equals(got as Uint8Array))
      this.#problems.push(`block ${index} of the peer is wrong`)
  }
}
