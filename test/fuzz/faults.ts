/**
 * Storages that fail while much is going on: what the fuzzer of sessions does, on disks that fail at any moment: once, for a while, or from
 * then on.
 *
 * What must hold: every call ends, with what is true or with an error that has a code and, if the disk is the reason, its error; nobody is
 * accused of anything; nothing escapes; and when the disks are well again, all that was acknowledged is there, everybody gets what
 * somebody has, and the published packages read it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { codeOf } from '../../src/errors.ts'
import type { Damage } from '../../src/index.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published, publishedHypercore } from '../helpers/published.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { Disk, isOfDisk, onDisk } from './faults-disk.ts'
import { guarded, type Outcome, told } from './outcome.ts'
import { drawOptions, type Home, type Maker, Member, type Series } from './sessions-members.ts'
import { OURS, OURS_FOR_HYPERCORE, SessionRun } from './sessions-run.ts'

/** What a call may fail with because of a disk. */
const EXCUSED: ReadonlySet<unknown> = new Set(['ERR_STORAGE', 'ERR_WRITE_REFUSED'])

/**
 * What a write that failed may leave: nodes that no bit tells of and nothing depends on, and where it could not be undone either, blocks
 * without their signature. A repair makes them count.
 */
const LEFT: ReadonlySet<string> = new Set([
  'a node does not hold',
  'bits of nodes do not hold',
  'the signature of the end is missing'
])

/** What only those mend who have the longer history. */
const BEHIND = 'a longer history is signed than is here'

/** Runs one seed. */
export function fuzzFaults(seed: number): Promise<Outcome> {
  return guarded(seed, async (problems) => {
    const run = new FaultyRun(new SeededRandom(seed), problems)
    try {
      return await run.go()
    } finally {
      await run.clean()
    }
  })
}

interface FaultyHome extends Home {
  readonly disk: Disk
  readonly what: string
}

class FaultyRun extends SessionRun {
  readonly #homes = new Map<Member, FaultyHome>()
  #folder: string | null = null
  #folders = 0
  readonly #often: number
  #maker = OURS

  constructor(random: SeededRandom, problems: string[]) {
    super(random, problems, { isExcused: (error) => EXCUSED.has(codeOf(error)) && isOfDisk(error) })
    this.#often = random.pick([0.03, 0.1, 0.25])
  }

  async clean(): Promise<void> {
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true })
  }

  protected override async begin(): Promise<void> {
    this.#folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-faults-'))
    await super.begin()
  }

  protected override found(series: Series, maker: Maker): Member {
    this.#maker = maker
    let home: FaultyHome | null = null
    const member = new Member(
      series,
      maker,
      (one) => this.happened(one),
      (isAuthor) => {
        home = this.#settle(isAuthor)
        return home
      }
    )
    this.#homes.set(member, home!)
    return member
  }

  protected override step(member?: Member): void {
    const { random } = this
    if (random.chance(this.#often)) {
      const one = random.pick(this.owners.flat())
      const { disk } = this.#homes.get(one)!
      if (random.chance(0.7)) this.story.note(`${one.name}: its disk fails ${disk.breaks()}`)
      else {
        this.story.note(`${one.name}: its disk is well again`)
        disk.mends()
      }
    }
    super.step(member)
  }

  /** What disks have spoilt is over: feeds that it has ended are opened again. */
  protected override async calm(): Promise<void> {
    const { random, story } = this
    await this.peace.quiet()
    for (const [member, { disk }] of this.#homes) {
      if (disk.failures.length > 0) story.note(`${member.name} had: ${disk.failures.join('; ')}`)
      if (disk.hammered !== null) story.wrong(`${member.name}: ${told(disk.hammered)}`)
      disk.mends()
    }
    for (const member of this.owners.flat()) {
      if (random.chance(0.5)) await this.#goesOn(member)
      const { feed, name } = member
      await this.#closes(member)
      if (member.feed === feed) member.reopen()
      await story.answered(member.feed.ready(), `ready of ${name}`)
      await this.#hasAll(member)
    }
    await super.calm()
  }

  protected override async exchange(): Promise<void> {
    await super.exchange()
    for (const { feed, name } of this.owners.flat()) {
      const { damage } = await this.story.answered(feed.audit({}), `last audit of ${name}`)
      if (damage.some(({ problem }) => !LEFT.has(problem)))
        this.story.wrong(`${name} is still damaged: ${JSON.stringify(damage)}`)
    }
    for (const [member, home] of this.#homes) {
      const { feed, name, series } = member
      const has = Array.from(series.blocks, (_, i) => feed.has(i))
      const { length } = feed
      await this.story.answered(feed.close(), `last close of ${name}`)
      await this.#reads(member, home, has, length)
    }
  }

  /** Without being opened again, a feed whose disk is well again does all, unless it may not trust it any more. */
  async #goesOn(member: Member): Promise<void> {
    const { story } = this
    const { feed, name, isClosed, isAuthor } = member
    if (isClosed) return
    try {
      await story.answered(feed.ready(), `ready of ${name}`)
    } catch (error) {
      if (!story.isExcused(error)) throw error
      return
    }
    story.note(`${name} goes on`)
    try {
      if (isAuthor && !story.truncates) await story.answered(member.append(2), `append to ${name}`)
      await this.#hasAll(member, feed)
    } catch (error) {
      // A synchronisation that has failed is not made up for.
      if (!story.isExcused(error) || !this.#unsynced(member))
        story.wrong(`${name} does not go on: ${told(error)}`)
    }
  }

  async #closes({ feed, name }: Member): Promise<void> {
    try {
      await this.story.answered(feed.close(), `close of ${name}`)
    } catch (error) {
      if (!this.story.isExcused(error)) throw error
    }
  }

  /** A copy that has met two histories may have written blocks of one over those of the other, before it knew. */
  #mayMix(isAuthor: boolean): boolean {
    return this.story.truncates && !isAuthor
  }

  #unsynced(member: Member): boolean {
    return this.#homes.get(member)!.disk.failures.some((failure) => failure.includes('sync'))
  }

  /**
   * Everything that was acknowledged is there, and holds.
   * @param before - the feed that its disk has failed
   */
  async #hasAll(member: Member, before: unknown = null): Promise<void> {
    const { story } = this
    const { feed, name, series, held } = member
    if (!story.truncates) {
      const { length } = series.blocks
      if (member.isAuthor && feed.length < length)
        story.wrong(`${name} has ${feed.length} of ${length} blocks`)
      for (const index of held) {
        if (feed.has(index))
          member.check(index, await story.answered(feed.get(index), `get ${index} of ${name}`))
        else story.wrong(`${name} has lost block ${index}`)
      }
    }
    const { invalid } = await story.answered(feed.audit(), `audit of ${name}`)
    if (invalid !== 0 && !this.#mayMix(member.isAuthor))
      story.wrong(`${name}: ${invalid} blocks do not hold after faults`)
    const { damage } = await story.answered(feed.audit({}), `full audit of ${name}`)
    if (damage.length === 0) return
    const words = `${name} is damaged: ${JSON.stringify(damage)}, ${JSON.stringify(feed.recovery)} ${this.#homes.get(member)!.what}`
    // An author who has truncated meets those who have more; a copy may have got no further than a signature.
    const behind = story.truncates || !member.isAuthor ? BEHIND : null
    if (damage.some(({ problem }) => !LEFT.has(problem) && problem !== behind)) story.wrong(words)
    const { repaired } = await story.answered(feed.audit({ repair: true }), `repair of ${name}`)
    // Without being opened again a feed whose disk could not be synchronised writes nothing.
    if (repaired.length < damage.length && feed === before && this.#unsynced(member)) return
    const kept = damage.filter(({ problem }) => problem === behind)
    const again = await story.answered(feed.audit({}), `audit of ${name} after its repair`)
    if (repaired.length + kept.length !== damage.length || again.damage.length > kept.length)
      story.wrong(`${words}, repaired: ${JSON.stringify(repaired)}, ${JSON.stringify(again)}`)
  }

  async #reads(member: Member, home: FaultyHome, has: readonly boolean[], length: number): Promise<void> {
    const { story } = this
    const { name } = member
    const open = this.#maker === OURS_FOR_HYPERCORE ? publishedHypercore : published
    const feed = open((await home.published()) as never, null, {})
    await story.answered(feed.ready(), `published, ready of ${name}`)
    if (feed.length !== length)
      story.wrong(`published: ${name} has ${feed.length} blocks instead of ${length}`)
    for (const [i, present] of has.entries()) {
      if (present !== feed.has(i)) story.wrong(`published: ${name} has block ${i}: ${!present}`)
      if (present) member.check(i, await story.answered(feed.get(i), `published, get ${i} of ${name}`))
    }
    await story.answered(feed.close(), `published, close of ${name}`)
  }

  #settle(isAuthor: boolean): FaultyHome {
    const { random } = this
    const disk = new Disk(random)
    const place = random.chance(0.4) ? this.#inFolder(disk) : this.#inMemory(disk)
    const options = {
      ...(isAuthor ? {} : drawOptions(random)),
      ...(place.syncs && random.chance(0.4) && { durability: 'disk' }),
      ...(random.chance(0.5) && { verify: random.pick(['always', 'off']) })
    }
    const mayMix = this.#mayMix(isAuthor)
    const expects = ({ problem }: Damage) => mayMix || LEFT.has(problem)
    return { ...place, disk, options, expects, what: `${place.what} ${JSON.stringify(options)}` }
  }

  #inMemory(disk: Disk) {
    const { random } = this
    const files = new MemoryFiles()
    const make = files.factory()
    const syncs = random.chance(0.7)
    const extraFiles = syncs && random.chance(0.7)
    const statable = extraFiles || random.chance(0.7)
    const create = (name: string) => {
      const file = make(name)
      if (syncs) {
        // A read, as in directories.
        const { _read } = file
        file._read = (request) => (request.size < 0 ? request.callback(null) : _read.call(file, request))
        const sync = (callback: (error: Error | null) => void) =>
          file.read(0, -1, (error) =>
            callback(codeOf(error) === 'ENOENT' || String(error).includes('Not opened') ? null : error)
          )
        Object.assign(file, { sync })
      }
      onDisk(file, name, disk)
      return statable ? file : Object.assign(file, { statable: false })
    }
    return {
      syncs,
      what: `memory, ${JSON.stringify({ syncs, extraFiles, statable })}`,
      storage: () => Object.assign((name: string) => create(name), { extraFiles }),
      published: async () => files.factory()
    }
  }

  #inFolder(disk: Disk) {
    const { random } = this
    const folder = path.join(this.#folder!, String(this.#folders++))
    const sync = random.chance(0.7)
    const stamps = random.chance(0.3)
    return {
      syncs: true,
      what: `folder, ${JSON.stringify({ sync, stamps })}`,
      storage: () => {
        const create = directoryStorage(folder, { sync })
        const { readWhole } = create
        const faulty = (name: string, options: object) => onDisk(create(name, options) as never, name, disk)
        const whole = (name: string) => {
          const failure = disk.fails(name, 'read')
          if (failure !== null) throw failure.error
          return readWhole!(name)
        }
        return Object.assign(faulty, create, {
          ...(readWhole && { readWhole: whole }),
          ...(stamps && { stampsFrom: 0 })
        })
      },
      published: async () => folder
    }
  }
}
