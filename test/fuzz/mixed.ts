/**
 * Feeds of this package and of the published ones, of two to four owners, connected in all ways in which one of two is ours: copies of a published
 * author and of ours, and chains. Applications call ours as in the fuzzer of sessions, and published ones with what does these no harm.
 *
 * What must hold, beside what must in sessions: neither side accuses the other; afterwards everybody gets everything, by itself if it is to,
 * over connections that stay and over some that end by themselves; and the published package reads what ours has stored.
 */
import { SeededRandom } from '../helpers/seeded-random.ts'
import { MixedPeace } from './mixed-peace.ts'
import { PublishedCalls, publishedMaker } from './mixed-published.ts'
import { guarded, type Outcome, type Rarities } from './outcome.ts'
import { type Maker, Series } from './sessions-members.ts'
import { OURS, OURS_FOR_HYPERCORE, SessionRun } from './sessions-run.ts'

interface Dialect {
  readonly ours: Maker
  readonly published: Maker
}

const DIALECTS: readonly Dialect[] = [
  { ours: OURS, published: publishedMaker('ddatabase-published') },
  { ours: OURS_FOR_HYPERCORE, published: publishedMaker('hypercore-published') }
]
// A run is spoilt if the published package has thrown what nobody could catch.
const SPOILT = 'spoilt'
/** What only few runs may come to. */
export const RARE: Rarities = { [SPOILT]: 0.01 }

/** Runs one seed. */
export async function fuzzMixed(seed: number): Promise<Outcome> {
  // The published packages ask for blocks in an order of chance.
  const { random: draw } = Math
  const random = new SeededRandom(~seed)
  Math.random = () => random.next()
  try {
    const outcome = await guarded(seed, (problems) => new MixedRun(new SeededRandom(seed), problems).go())
    return outcome.problems.some(isTheirs) ? { seed, code: SPOILT, problems: [] } : outcome
  } finally {
    Math.random = draw
  }
}

/** Whether something escaped that nothing of this package had a part in. */
function isTheirs(problem: string): boolean {
  return problem.startsWith('escaped') && problem.includes('/node_modules/') && !problem.includes('/src/')
}

class MixedRun extends SessionRun {
  readonly #dialect: Dialect
  readonly #publishedCalls: PublishedCalls
  readonly #peace: MixedPeace

  constructor(random: SeededRandom, problems: string[]) {
    const dialect = random.pick(DIALECTS)
    // Authors cut off only what nobody has heard of: there are no other histories.
    super(random, problems, { truncates: false })
    this.#dialect = dialect
    this.#publishedCalls = new PublishedCalls(this.story)
    this.#peace = new MixedPeace(this.story, this.peace, this.connections, this.series)
  }

  protected override get code(): string {
    return this.series.map(({ author }) => (author.isOurs ? 'author' : 'published author')).join(', ')
  }

  protected override async begin(): Promise<void> {
    const { random } = this
    const { ours, published } = this.#dialect
    const makers = [ours, published]
    for (let more = random.below(3); more > 0; more--) makers.push(random.pick([ours, published]))
    for (const _ of makers) this.owners.push([])
    for (let number = random.pick([1, 1, 1, 2]); number > 0; number--) {
      const series = new Series(this.story, number)
      // Who comes first is the author.
      for (const i of random.shuffle([...makers.keys()])) {
        const member = this.found(series, makers[i]!)
        this.owners[i]!.push(member)
        if (!member.isAuthor) continue
        await member.feed.ready()
        series.key = Buffer.from(member.feed.key!)
        await member.append(random.below(40))
      }
      this.series.push(series)
    }
    // A published copy that is asked for a place may find a block whose node it does not know, and then it ends the connection.
    this.story.seeks = this.owners.flat().every(({ isAuthor, isOurs }) => isOurs || isAuthor)
  }

  protected override async play(): Promise<void> {
    const { ours, published } = this.#dialect
    for (let storms = this.random.between(1, 3); storms > 0; storms--) {
      await this.storm()
      await this.calm()
    }
    await this.#peace.exchange()
    for (const series of this.series) await this.#peace.exchangeOnce(series, ours, published)
    await this.end()
    for (const { members } of this.series) {
      for (const member of members) await this.#peace.handOver(member, published)
    }
  }

  protected override async calm(): Promise<void> {
    await this.#peace.begin()
    await this.#peace.change()
  }

  protected override step(member = this.random.pick(this.owners.flat())): void {
    const ticket = this.random.below(100)
    if (ticket < 14) this.connect()
    else if (ticket < 19) this.connections.disturb()
    else if (!member.isOurs) this.#publishedCalls.any(member)
    else if (ticket < 21) this.story.call(`${member.name}: close`, () => member.close())
    else if (ticket < 24) this.reopen(member)
    else this.call(member)
  }

  /** Two of which one at least is ours. */
  protected override connect(): void {
    const owners = this.random.shuffle(this.owners)
    const ours = owners.find(([first]) => first!.isOurs)!
    const other = owners.find((owner) => owner !== ours)!
    const [one, two] = this.random.shuffle([ours, other])
    this.connections.connect(one!, two!)
  }
}
