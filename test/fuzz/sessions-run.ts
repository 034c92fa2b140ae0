/** One run of a fuzzer of sessions: how it begins, the storm, and the peace after it. */
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import type { SeededRandom } from '../helpers/seeded-random.ts'
import { settle } from '../helpers/watchdog.ts'
import { told } from './outcome.ts'
import { Calls } from './sessions-calls.ts'
import { Connections } from './sessions-connections.ts'
import { type Create, type Maker, Member, Series } from './sessions-members.ts'
import { Peace } from './sessions-peace.ts'
import { type Setting, Story } from './sessions-story.ts'

export const OURS: Maker = { create: ddatabase, isOurs: true }
export const OURS_FOR_HYPERCORE: Maker = { create: hypercore as Create, isOurs: true }

/** A run; others differ in where feeds are stored and in what else happens. */
export class SessionRun {
  protected readonly random: SeededRandom
  protected readonly story: Story
  readonly #calls: Calls
  protected readonly connections: Connections
  protected readonly peace: Peace
  protected readonly series: Series[] = []
  /** The feeds of each owner: one of each series. */
  protected readonly owners: Member[][] = []

  constructor(random: SeededRandom, problems: string[], setting: Setting = {}) {
    this.random = random
    this.story = new Story(random, problems, setting)
    this.#calls = new Calls(this.story, (member) => this.step(member))
    this.connections = new Connections(this.story, () => this.step())
    this.peace = new Peace(this.story, this.connections, this.owners)
  }

  async go(): Promise<string> {
    const { story } = this
    try {
      await this.begin()
      await this.play()
    } catch (error) {
      story.wrong(told(error))
    }
    if (story.problems.length > 0) story.wrong(story.lines)
    return this.code
  }

  /** What a run is counted as. */
  protected get code(): string {
    return `${this.series.length} keys${this.story.truncates ? ', truncated' : ''}`
  }

  protected async play(): Promise<void> {
    await this.storm()
    await this.calm()
    if (!this.story.truncates) await this.exchange()
    await this.end()
  }

  protected async begin(): Promise<void> {
    const random = this.random
    const maker = random.chance(0.3) ? OURS_FOR_HYPERCORE : OURS
    const count = random.between(2, 3)
    for (let number = random.pick([1, 1, 2, 3]); number > 0; number--) {
      const series = new Series(this.story, number)
      const author = this.found(series, maker)
      await author.feed.ready()
      series.key = Buffer.from(author.feed.key!)
      await author.append(random.below(40))
      for (let i = 1; i < count; i++) this.found(series, maker)
      this.series.push(series)
    }
    for (let i = 0; i < count; i++) this.owners.push([])
    for (const { members } of this.series) {
      for (const [i, member] of random.shuffle(members).entries()) this.owners[i]!.push(member)
    }
  }

  /** Makes another feed of a key. */
  protected found(series: Series, maker: Maker): Member {
    return new Member(series, maker, (member) => this.happened(member))
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
    if (ticket < 12) this.connect()
    else if (ticket < 18) this.connections.disturb()
    else if (ticket < 20) this.story.call(`${member.name}: close`, () => member.close())
    else if (ticket < 24) this.reopen(member)
    else this.call(member)
  }

  protected connect(): void {
    const [one, two] = this.random.shuffle(this.owners)
    this.connections.connect(one!, two!)
  }

  protected call(member: Member): void {
    this.#calls.any(member)
  }

  protected reopen(member: Member): void {
    const { closed, closing } = member.feed
    if (closing || closed) this.story.call(`${member.name}: open again`, () => member.openAgain())
  }

  protected async calm(): Promise<void> {
    await this.peace.quiet()
    await this.peace.reopen()
  }

  protected async exchange(): Promise<void> {
    this.peace.connect()
    await this.peace.exchange()
    await this.peace.audit()
  }

  protected async end(): Promise<void> {
    const { story } = this
    for (const { members } of this.series) {
      for (const { feed, name } of members) await story.answered(feed.close(), `close of ${name}`)
    }
    await this.connections.cut()
    await story.over()
  }
}
