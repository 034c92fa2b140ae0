/** What must hold of feeds of ours and of published packages when a storm is over, beside what holds among ours. */
import { ignore } from '../../src/util/callback.ts'
import { settle } from '../helpers/watchdog.ts'
import type { Connections } from './sessions-connections.ts'
import { inMemory, type Maker, Member, type Series } from './sessions-members.ts'
import type { Peace } from './sessions-peace.ts'
import type { Story } from './sessions-story.ts'

/** What is done in the end. */
export class MixedPeace {
  readonly #story: Story
  readonly #peace: Peace
  readonly #connections: Connections
  readonly #series: readonly Series[]
  // Feeds that nothing of what was called in the storm holds up.
  readonly #new = new Set<Member>()

  constructor(story: Story, peace: Peace, connections: Connections, series: readonly Series[]) {
    this.#story = story
    this.#peace = peace
    this.#connections = connections
    this.#series = series
  }

  get #members(): readonly Member[] {
    return this.#series.flatMap(({ members }) => members)
  }

  /**
   * Nobody is connected. Published feeds are opened again, as they may wait for ever for what they have cancelled; and some of ours
   * that fetch all by themselves, which may have been cancelled.
   */
  async begin(): Promise<void> {
    const { random } = this.#story
    await this.#peace.quiet()
    this.#new.clear()
    for (const member of this.#members) {
      if (!member.isOurs || (!member.feed.sparse && random.chance(0.5))) await this.#renew(member)
    }
    await this.#peace.reopen()
  }

  /** Published feeds clear some blocks, which they can do while there are no peers; and our authors cut off what nobody else has heard of. */
  async change(): Promise<void> {
    const { random } = this.#story
    for (const { feed, isOurs, name } of this.#members) {
      const start = random.below(feed.length)
      const end = Math.min(feed.length, start + random.below(5))
      if (isOurs || start === end) continue
      this.#story.note(`${name}: clear ${start} to ${end}`)
      // It does not know the place of every block that it has.
      await feed.clear(start, end).catch(() => {})
    }
    for (const { author, blocks, members } of this.#series) {
      if (random.chance(0.5)) await author.append(random.below(6))
      const known = Math.max(...members.filter((member) => member !== author).map(({ feed }) => feed.length))
      if (!author.isOurs || known >= author.feed.length) continue
      const length = random.between(known, author.feed.length)
      this.#story.note(`${author.name}: truncate to ${length}`)
      await this.#story.answered(author.feed.truncate(length), `truncate of ${author.name}`)
      blocks.length = Math.min(blocks.length, length)
    }
  }

  /** Everybody gets everything: by itself, if asked, as it is appended, and over connections that end when all is there. */
  async exchange(): Promise<void> {
    const complete = this.#members.filter(
      (member) => this.#new.has(member) && !member.isAuthor && !member.feed.sparse
    )
    this.#peace.connect()
    for (const member of complete) if (member.isOurs) await this.#completes(member)
    await this.#peace.exchange()
    for (const member of complete) if (!member.isOurs) await this.#completes(member)
    for (const series of this.#series) await this.#follow(series)
    for (const series of this.#series) await this.#talk(series)
    await this.#connections.cut()
    await this.#peace.audit()
  }

  /** One more copy that gets all of a feed over a connection that ends by itself. */
  async exchangeOnce(series: Series, ours: Maker, published: Maker): Promise<void> {
    const { random } = this.#story
    // Where blocks are missing, and from a sparse copy, nothing is over.
    const givers = series.members.filter(
      ({ feed, isAuthor }) => feed.length > 0 && feed.has(0, feed.length) && (isAuthor || !feed.sparse)
    )
    if (givers.length === 0) return
    const giver = random.pick(givers)
    // Who waits for more is not over, either.
    await this.#renew(giver)
    const maker = giver.isOurs ? published : ours
    const taker = new Member(series, maker, ignore, () =>
      inMemory(series, maker.isOurs, false, { sparse: false })
    )
    for (const { feed, name } of [giver, taker]) await this.#story.answered(feed.ready(), `ready of ${name}`)
    const what = `${taker.name} after a connection with ${giver.name}`
    this.#story.note(what)
    const acknowledged = await this.#connections.connectOnce(giver, taker)
    const { length } = giver.feed
    if (!taker.feed.has(0, length)) this.#story.wrong(`${what} has ${taker.feed.downloaded()} of ${length}`)
    if (acknowledged !== null && acknowledged !== length)
      this.#story.wrong(`${what} has acknowledged ${acknowledged} of ${length}`)
  }

  /** A published package reads what ours has stored. Feeds are closed by now. */
  async handOver({ feed: { length }, home, isOurs, name, series }: Member, published: Maker): Promise<void> {
    if (!isOurs) return
    const story = this.#story
    const what = `the published package with the files of ${name}`
    const feed = published.create((await home.published()) as never, series.key)
    await story.answered(feed.ready(), `ready of ${what}`)
    if (feed.length !== length) story.wrong(`${what} has ${feed.length} of ${length}`)
    for (let i = 0; i < feed.length; i++) {
      if (!feed.has(i)) continue
      const block = await story.answered(feed.get(i), `get ${i} of ${what}`)
      if (!series.isRight(i, block)) story.wrong(`${what}: block ${i} is wrong`)
    }
    const { invalid } = await story.answered(feed.audit(), `audit of ${what}`)
    if (invalid !== 0) story.wrong(`${what}: ${invalid} blocks do not hold`)
    await story.answered(feed.close(), `close of ${what}`)
  }

  async #renew(member: Member): Promise<void> {
    await this.#story.answered(member.openAgain(), `${member.name} is opened again`)
    this.#new.add(member)
  }

  async #completes(member: Member): Promise<void> {
    const { feed, name } = member
    const wanted = member.reachable()
    const lacking = () => wanted.findIndex((isHere, i) => isHere && !feed.has(i))
    await this.#story.until(() => lacking() === -1, `${name} gets all by itself`)
  }

  /** New blocks come to everybody: to published copies of a published author by way of ours. */
  async #follow({ author, members }: Series): Promise<void> {
    const story = this.#story
    const start = author.feed.length
    const end = start + story.random.between(1, 5)
    story.note(`${author.name}: append until ${end}`)
    while (author.feed.length < end) await author.append(1)
    // What is not announced yet is not available yet.
    const options = { ifAvailable: false }
    const copies = members.filter(({ isAuthor }) => !isAuthor)
    for (const member of [
      ...copies.filter(({ isOurs }) => isOurs),
      ...copies.filter(({ isOurs }) => !isOurs)
    ]) {
      const { feed, name } = member
      await story.answered(feed.update({ ...options, minLength: end }), `${name} hears of ${end} blocks`)
      for (let i = start; i < end; i++)
        member.check(i, await story.answered(feed.get(i, options), `${name} gets ${i}, which is new`))
    }
  }

  /** Messages come to everybody with whom one is connected. */
  async #talk({ members }: Series): Promise<void> {
    const came = new Map<Member, number>()
    const extensions = members.map((member) => {
      const onmessage = () => came.set(member, (came.get(member) ?? 0) + 1)
      return member.feed.registerExtension<unknown>('last', { encoding: 'json', onmessage })
    })
    // Until they know of each other's extension.
    await settle(20)
    for (const extension of extensions) extension.broadcast({ to: 'all' })
    for (const member of members) {
      const others = members.filter((other) => other !== member && (other.isOurs || member.isOurs))
      await this.#story.until(() => came.get(member) === others.length, `messages come to ${member.name}`)
    }
  }
}
