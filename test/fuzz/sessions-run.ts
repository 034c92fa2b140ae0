/** One run of a fuzzer of sessions: how it begins, the storm, the calm after it, and what everybody gets then. */
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { settle } from '../helpers/watchdog.ts'
import { told } from './outcome.ts'
import { Calls } from './sessions-calls.ts'
import { Connections } from './sessions-connections.ts'
import { type Create, Member, Series } from './sessions-members.ts'
import { Story } from './sessions-story.ts'

// Beyond the end of all feeds.
const NOWHERE = 100_000
// Blocks that each copy is asked for at the end.
const MOST_ASKED = 25

/** A run; others differ in where feeds are stored and in what else happens. */
export class SessionRun {
  protected readonly random: SeededRandom
  protected readonly story: Story
  readonly #calls: Calls
  protected readonly connections: Connections
  protected readonly series: Series[] = []
  /** The feeds of each owner: one of each series. */
  protected readonly owners: Member[][] = []

  constructor(random: SeededRandom, problems: string[], isExcused?: (error: unknown) => boolean) {
    this.random = random
    this.story = new Story(random, problems, isExcused)
    this.#calls = new Calls(this.story, (member) => this.step(member))
    this.connections = new Connections(this.story, () => this.step())
  }

  async go(): Promise<string> {
    const story = this.story
    try {
      await this.begin()
      await this.storm()
      await this.calm()
      if (!story.truncates) await this.exchange()
      for (const { feed, name } of this.owners.flat()) await story.answered(feed.close(), `close of ${name}`)
      await this.connections.cut()
      await story.over()
    } catch (error) {
      story.wrong(told(error))
    }
    if (story.problems.length > 0) story.wrong(story.lines)
    return `${this.series.length} keys${story.truncates ? ', truncated' : ''}`
  }

  protected async begin(): Promise<void> {
    const random = this.random
    const create = (random.chance(0.3) ? hypercore : ddatabase) as Create
    const count = random.between(2, 3)
    for (let number = random.pick([1, 1, 2, 3]); number > 0; number--) {
      const series = new Series(this.story, create, number)
      const author = this.found(series)
      await author.feed.ready()
      series.key = Buffer.from(author.feed.key!)
      await author.append(random.below(40))
      for (let i = 1; i < count; i++) this.found(series)
      this.series.push(series)
    }
    for (let i = 0; i < count; i++) this.owners.push([])
    for (const { members } of this.series) {
      for (const [i, member] of random.shuffle(members).entries()) this.owners[i]!.push(member)
    }
  }

  /** Makes another feed of a key. */
  protected found(series: Series): Member {
    return new Member(series, (member) => this.happened(member))
  }

  /** Something happened to a feed: mostly that one is called. */
  protected happened(member: Member): void {
    this.step(this.random.chance(0.7) ? member : undefined)
  }

  protected async storm(): Promise<void> {
    const random = this.random
    this.story.storm()
    const pauses = random.chance(0.3) ? [0, 0, 0, 1] : [0, 0, 1, 1, 2, 5, 12]
    for (let left = random.between(10, 60); left > 0; left--) {
      this.step()
      await settle(random.pick(pauses))
    }
    await settle(5)
  }

  protected step(member = this.random.pick(this.owners.flat())): void {
    const random = this.random
    const ticket = random.below(100)
    if (ticket < 12) {
      const [one, two] = random.shuffle(this.owners)
      this.connections.connect(one!, two!)
    } else if (ticket < 18) this.connections.disturb()
    else if (ticket < 20) this.story.call(`${member.name}: close`, () => member.close())
    else if (ticket < 24) this.reopen(member)
    else this.#calls.any(member)
  }

  protected reopen(member: Member): void {
    const { feed, name } = member
    if (!feed.closing && !feed.closed) return
    this.story.call(`${name}: open again`, async () => {
      await feed.close()
      if (member.feed === feed) member.reopen()
    })
  }

  /** Without connections nobody is waited for, whatever has happened. */
  protected async calm(): Promise<void> {
    const story = this.story
    story.calm()
    await settle(20)
    // What was to be done soon has been done by then.
    await new Promise((resolve) => setTimeout(resolve, 15))
    await this.connections.cut()
    for (const member of this.owners.flat()) {
      const { feed, name, isClosed } = member
      if (!isClosed) continue
      await story.answered(feed.close(), `close of ${name}`)
      if (member.feed === feed) member.reopen()
    }
    for (const { feed, name, isAuthor } of this.owners.flat()) {
      await story.answered(feed.ready(), `ready of ${name}`)
      await settle(3)
      if (feed.peers.length > 0) story.wrong(`${name} has ${feed.peers.length} peers without a connection`)
      if (feed.ifAvailable.waiting) story.wrong(`${name} waits for somebody without a connection`)
      const what = `get of ${name} without peers`
      const code = await story.codeOf(feed.get(NOWHERE, { ifAvailable: true }), what)
      if (code !== 'ERR_BLOCK_NOT_AVAILABLE') story.wrong(`${what}: ${code}`)
      feed.setUploading(true)
      feed.setDownloading(!isAuthor)
      feed.maxUploadRate = Number.POSITIVE_INFINITY
      feed.maxDownloadRate = Number.POSITIVE_INFINITY
    }
  }

  /** Everybody gets what somebody has. */
  protected async exchange(): Promise<void> {
    for (const [i, one] of this.owners.entries()) {
      for (const two of this.owners.slice(0, i)) this.connections.connectWell(one, two)
    }
    for (const series of this.series) {
      const { author, members } = series
      const { length } = author.feed
      const here = Array.from({ length }, (_, i) => members.some(({ feed }) => feed.has(i)))
      for (let i = 0; i < length; i++) {
        if (author.feed.has(i)) series.knows(i, Buffer.from((await author.feed.get(i)) as Uint8Array))
      }
      for (const member of members) if (member !== author) await this.gets(member, here)
      for (const { feed, name } of members) {
        const { invalid } = await this.story.answered(feed.audit(), `audit of ${name}`)
        if (invalid !== 0) this.story.wrong(`${name}: ${invalid} blocks do not hold`)
      }
    }
  }

  /** @param here - which blocks somebody has */
  protected async gets(member: Member, here: readonly boolean[]): Promise<void> {
    const story = this.story
    const { feed, name } = member
    const known = here.lastIndexOf(true) + 1
    await story.answered(feed.update({ minLength: known }), `update of ${name} to ${known}`)
    const update = await story.codeOf(feed.update({ ifAvailable: true }), `update of ${name} to more`)
    if (update !== 'ERR_UPDATE_NOT_AVAILABLE') story.wrong(`update of ${name} to more: ${update}`)
    await this.#seeks(member)
    const asked = this.random.shuffle([...here.keys()]).slice(0, MOST_ASKED)
    await Promise.all(
      asked.map(async (index) => {
        const what = `get ${index} of ${name}`
        if (here[index]) member.check(index, await story.answered(feed.get(index), what))
        else {
          const code = await story.codeOf(feed.get(index, { ifAvailable: true }), what)
          if (code !== 'ERR_BLOCK_NOT_AVAILABLE') story.wrong(`${what}: ${code}`)
        }
      })
    )
    const blocks = [...here.keys()].filter((index) => here[index])
    if (!feed.sparse) await story.answered(feed.download({ blocks }), `download of ${name}`)
  }

  async #seeks({ feed, name, series }: Member): Promise<void> {
    const story = this.story
    const bytes = this.random.below(feed.byteLength)
    const { index, offset } = await series.author.feed.seek(bytes)
    // How two neighbours share their bytes tells who has one of them, to somebody who has not. If nobody does, there may be no answer.
    const known = [index & ~1, index | 1].some(
      (block) => !feed.has(block) && series.members.some((other) => other.feed.has(block))
    )
    const what = `seek ${bytes} of ${name}`
    try {
      const place = await story.answered(feed.seek(bytes, { ifAvailable: !known }), what)
      if (place.index !== index || place.offset !== offset)
        story.wrong(`${what} is ${JSON.stringify(place)}, not ${index}, ${offset}`)
    } catch (error) {
      if (known || (error as { code?: unknown }).code !== 'ERR_SEEK_NOT_AVAILABLE') throw error
    }
  }
}
