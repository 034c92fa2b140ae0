/**
 * Arguments that nobody expects, to the methods of a feed that is connected to a peer, and of its end of the connection.
 *
 * Beside what must hold of each call: the peer, whose application does nothing strange, is not harmed. What it gets is true, its calls end,
 * and its connection ends with an error that has a code, if with any. Some peers are the published package: those go on, too.
 */
import type { Feed } from '../../src/index.ts'
import type { ProtocolStream } from '../../src/replication/stream.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { nasty } from './nasty.ts'
import { METHODS, NastyCalls, PATIENCE, STREAM_METHODS } from './nasty-calls.ts'
import { guarded, type Outcome } from './outcome.ts'

type AnyFeed = Feed<unknown>

const BLOCKS = Array.from({ length: 40 }, (_, i) => Buffer.from(`block ${i}`))
const NEXT = Buffer.from('next')
// Milliseconds that a call of the peer may wait for a feed that was told not to answer.
const BRIEF = 60

/** What a connection can be told. */
const OPTIONS = [
  'ack',
  'authenticated',
  'download',
  'encrypted',
  'initiator',
  'keyPair',
  'limits',
  'live',
  'maxDownloadRate',
  'maxRequests',
  'maxUploadRate',
  'noise',
  'onauthenticate',
  'onchannelclose',
  'ondiscoverykey',
  'onextensions',
  'onfeedauthenticate',
  'onhandshake',
  'onremoteopen',
  'random',
  'requireAuthenticated',
  'stream',
  'timeout',
  'upload'
]

/** Runs one seed. */
export function fuzzConnected(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new Run(new SeededRandom(seed), problems).go())
}

class Run {
  readonly #random: SeededRandom
  readonly #problems: string[]
  readonly #calls: NastyCalls
  #isOld = false
  readonly #ends: ProtocolStream[] = []
  readonly #ended: Promise<unknown>[] = []

  constructor(random: SeededRandom, problems: string[]) {
    this.#random = random
    this.#problems = problems
    this.#calls = new NastyCalls(random, problems, BLOCKS.length + 1)
  }

  async go(): Promise<string> {
    const random = this.#random
    // Which of the two does strange things, and what the other one is.
    const writes = random.chance(0.5)
    this.#isOld = random.chance(0.25)
    const open = this.#isOld ? published : ours()
    const author = (writes ? ours() : open)(new MemoryFiles().factory())
    await author.append(BLOCKS)
    const copy = (writes ? open : ours())(new MemoryFiles().factory(), author.key, {
      sparse: random.chance(0.6)
    })
    await copy.ready()
    const strange = (writes ? author : copy).feed as unknown as AnyFeed
    const peer = writes ? copy : author
    strange.on('error', () => {})
    if (!this.#isOld)
      peer.feed.on('error', (error: unknown) => this.#problems.push(`the peer: ${String(error)}`))

    const stream = this.#connect(strange, peer)
    for (let left = random.between(3, 20); left > 0; left--) {
      if (random.chance(0.08)) this.#connectOddly(strange, peer)
      else if (random.chance(0.15))
        this.#calls.call(stream, random.pick(STREAM_METHODS), this.#calls.arguments())
      else this.#calls.call(strange, random.pick(METHODS), this.#calls.arguments())
      if (random.chance(0.3)) await settle(1)
      if (random.chance(0.3)) await this.#usePeer(peer, writes)
    }
    await settle(5)
    await this.#usePeer(peer, writes)
    this.#connect(strange, peer)
    for (let i = 0; i < 3; i++) await this.#usePeer(peer, writes)
    const { invalid } = await peer.audit()
    if (invalid !== 0) this.#problems.push(`the peer has ${invalid} blocks that do not hold`)

    this.#calls.endStreams()
    await within(Promise.all([strange.close(), peer.close()]), 'close', PATIENCE)
    for (const end of this.#ends) end.destroy()
    await within(Promise.all(this.#ended), 'the end of the connections', PATIENCE)
    await this.#calls.settled()
    this.#calls.countCallbacks()
    return `${writes ? 'author' : 'copy'}${this.#isOld ? ', published peer' : ''}`
  }

  /** Connects the two, and answers the end of the strange one. */
  #connect(strange: AnyFeed, peer: FeedFace): ProtocolStream {
    const random = this.#random
    const options = { live: random.chance(0.8), ...(random.chance(0.3) && { ack: true }) }
    const initiates = random.chance(0.5)
    const here = strange.replicate(initiates, options)
    this.#join(here, peer)
    return here
  }

  /** Another connection, with options that nobody expects. */
  #connectOddly(strange: AnyFeed, peer: FeedFace): void {
    const random = this.#random
    const options: Record<string, unknown> = {}
    for (const name of random.shuffle(OPTIONS).slice(0, random.between(1, 3))) options[name] = nasty(random)
    try {
      const here = strange.replicate(random.chance(0.5), options)
      if (!this.#ends.includes(here)) this.#join(here, peer)
    } catch (error) {
      this.#calls.judge(this.#calls.words('replicate', [options]), error)
    }
  }

  /** Connects an end with one of the peer's. */
  #join(here: ProtocolStream, peer: FeedFace): void {
    const there = (peer.feed as unknown as AnyFeed).replicate(!here.initiator, { live: true })
    for (const end of [here, there]) {
      end.on('error', (error: unknown) => {
        // A pipe hands the error of one end on to the other.
        if (!this.#isOld) this.#calls.judge('the connection', error)
      })
      this.#ends.push(end)
      this.#ended.push(new Promise((resolve) => end.on('close', () => resolve(null))))
    }
    here.pipe(there).pipe(here)
  }

  /** What an application does with its feed. Only blocks that were there from the start have to be what they were. */
  async #usePeer(peer: FeedFace, reads: boolean): Promise<void> {
    const random = this.#random
    const index = random.below(BLOCKS.length)
    const judge = (error: unknown): null => {
      if (!this.#isOld) this.#calls.judge(`the peer's call`, error)
      return null
    }
    if (!reads) {
      if (random.chance(0.3)) await peer.append(NEXT)
      const own = await peer.get(index)
      if (!BLOCKS[index]!.equals(own as Uint8Array))
        this.#problems.push(`block ${index} of the author is wrong`)
      return
    }
    const got = await peer.get(index, { timeout: BRIEF }).catch(judge)
    // An author may cut the feed, and append something else.
    if (got !== null && peer.length >= BLOCKS.length && !BLOCKS[index]!.equals(got as Uint8Array))
      this.#problems.push(`block ${index} of the peer is wrong`)
  }
}
