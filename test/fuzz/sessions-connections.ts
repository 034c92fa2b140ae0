/** The connections of the fuzzer of sessions: of every kind, with one feed or several, cut at any time. */
import type { EventEmitter } from 'node:events'
import type { ProtocolStream } from '../../src/replication/stream.ts'
import { join, RoughPipe } from '../helpers/replication-pipes.ts'
import type { AnyStream } from '../helpers/replication-subjects.ts'
import type { Member } from './sessions-members.ts'
import { OwnError, type Story } from './sessions-story.ts'

const EVENTS = ['ack', 'duplex-channel', 'extensions', 'handshake', 'prefinalize', 'remote-open']

/** What the two ends are told of the transport. */
const TRANSPORTS: readonly [object, object][] = [
  [{}, {}],
  [{}, {}],
  [{ authenticated: false }, {}],
  [{ encrypted: false }, { encrypted: false }],
  [
    { encrypted: false, noise: false },
    { encrypted: false, noise: false }
  ]
]

/** All connections there have been. */
export class Connections {
  readonly #story: Story
  readonly #act: () => void
  readonly #streams: ProtocolStream[] = []
  readonly #ended: Promise<unknown>[] = []

  /** @param act - does something else, from within an event of a stream */
  constructor(story: Story, act: () => void) {
    this.#story = story
    this.#act = act
  }

  /** Connects two owners of feeds, which need not have the same ones on the connection. */
  connect(one: readonly Member[], two: readonly Member[]): void {
    const { random } = this.#story
    const transport = random.pick(TRANSPORTS)
    this.#story.note(`connect ${one[0]?.name} and ${two[0]?.name}, ${JSON.stringify(transport)}`)
    const a = this.#end(one, true, transport[0])
    const b = this.#end(two, false, transport[1])
    if (!isMixed(one, two) && random.chance(0.4)) join(asAny(a), asAny(b))
    else {
      const budget = random.chance(0.2) ? random.below(20_000) : Number.POSITIVE_INFINITY
      new RoughPipe(asAny(a), asAny(b), random, budget)
    }
  }

  /** Connects two owners, with all that both have, for as long as they live. */
  connectWell(one: readonly Member[], two: readonly Member[]): void {
    const ends = [one, two].map((members, i) => {
      const [first, ...others] = this.#story.random.shuffle(members)
      const stream = this.#watch(first!, first!.feed.replicate(i === 0, { live: true }))
      for (const { feed } of others) feed.replicate(stream, { live: true })
      return asAny(stream)
    })
    if (isMixed(one, two)) new RoughPipe(ends[0]!, ends[1]!, this.#story.random)
    else join(ends[0]!, ends[1]!)
  }

  /**
   * Connects two feeds until both ends have ended by themselves, as they must do.
   * @returns how many blocks the one who gives was told that they are stored, null if it did not ask
   */
  async connectOnce(giver: Member, taker: Member): Promise<number | null> {
    const { random } = this.#story
    const giverInitiates = random.chance(0.5)
    const ack = random.chance(0.5)
    const acknowledged = new Set<number>()
    const [from, to] = [
      giver.feed.replicate(giverInitiates, { live: false, ack }),
      taker.feed.replicate(!giverInitiates, { live: false })
    ]
    from.on('ack', ({ start }) => acknowledged.add(start))
    const ended = Promise.all(
      [this.#watch(giver, from), this.#watch(taker, to)].map(
        (stream) => new Promise((resolve) => stream.on('close', () => resolve(null)))
      )
    )
    new RoughPipe(asAny(from), asAny(to), random)
    await this.#story.answered(ended, `the end of ${giver.name} and ${taker.name}`)
    return ack ? acknowledged.size : null
  }

  /** Does something to one that is open. */
  disturb(): void {
    const stream = this.#story.random.pick(this.#streams.filter(({ destroying }) => !destroying))
    if (stream !== undefined) this.#disturb(stream)
  }

  /** Cuts all of them. */
  async cut(): Promise<void> {
    for (const stream of this.#streams) stream.destroy()
    await this.#story.answered(Promise.all(this.#ended), 'the end of the connections')
  }

  #end(members: readonly Member[], initiates: boolean, transport: object): ProtocolStream {
    const { random } = this.#story
    const options = {
      ...transport,
      live: random.chance(0.6),
      ...(random.chance(0.3) && { ack: true }),
      ...(random.chance(0.1) && { upload: false }),
      ...(random.chance(0.1) && { download: false }),
      ...(random.chance(0.2) && { maxRequests: random.between(1, 30) })
    }
    const [first, ...others] = random.shuffle(members)
    const stream = this.#watch(first!, first!.feed.replicate(initiates, options))
    for (const member of others.slice(random.below(others.length + 1))) {
      const add = () => {
        if (stream.destroying) return
        if (random.chance(0.5)) member.feed.replicate(stream, options)
        else member.feed.replicate(initiates, { ...options, stream })
      }
      if (random.chance(0.3)) setImmediate(add)
      else add()
    }
    stream.on('discovery-key', (discoveryKey) => {
      const wanted = members.find(({ feed }) => feed.discoveryKey?.toString() === discoveryKey.toString())
      const answer = random.below(3)
      if (answer === 0) stream.close(discoveryKey)
      else if (answer === 1) wanted?.feed.replicate(stream, { live: true })
    })
    return stream
  }

  #watch({ name, isOurs }: Member, stream: ProtocolStream): ProtocolStream {
    this.#streams.push(stream)
    this.#ended.push(new Promise((resolve) => stream.on('close', () => resolve(null))))
    if (!isOurs) {
      stream.on('error', (error) => this.#story.theirEnding(name, error))
      return stream
    }
    stream.on('error', (error) => this.#story.ending(error))
    for (const event of EVENTS) {
      ;(stream as unknown as EventEmitter).on(event, () =>
        this.#story.within(`${event} of a stream`, () => {
          if (this.#story.random.chance(0.4)) this.#disturb(stream)
          else this.#act()
        })
      )
    }
    return stream
  }

  #disturb(stream: ProtocolStream): void {
    const [what, disturb] = this.#story.random.pick<[string, () => void]>([
      ['destroy', () => stream.destroy()],
      ['destroy with an error', () => stream.destroy(new OwnError('cut'))],
      ['finalize', () => stream.finalize()],
      ['ping', () => stream.ping()],
      [
        'close a channel',
        () => {
          const [channel] = stream.channels
          if (channel !== undefined) stream.close(channel.discoveryKey)
        }
      ]
    ])
    this.#story.note(`a stream: ${what}`)
    disturb()
  }
}

/** Whether one of them is a published package: what that throws must not be thrown into ours, as it is without a pipe between them. */
function isMixed(...owners: readonly (readonly Member[])[]): boolean {
  return owners.flat().some(({ isOurs }) => !isOurs)
}

function asAny(stream: ProtocolStream): AnyStream {
  return stream as unknown as AnyStream
}
