import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { removeFolder } from './folder.ts'
import type { Measurement } from './measure.ts'
import { runJob } from './process.ts'
import type { Profile } from './profiles.ts'
import { type RowResult, summarise } from './results.ts'
import type { Fixture, Row } from './row.ts'
import { baseline, type Subject } from './subjects.ts'

/** What a run needs to know. */
export interface Plan {
  /** Folder of the project. */
  readonly root: string
  /** Folder for the feeds of this run. */
  readonly folder: string
  /** Path of the compiled measuring program. */
  readonly program: string
  readonly profile: Profile
  readonly subjects: readonly Subject[]
  /** Told about each step, for a progress display. */
  progress(text: string): void
}

/**
 * Prepares feeds, measures rows and has the written files checked, one process at a time; in a smoke run, whose figures
 * mean nothing, also at the same time where no feed is shared.
 */
export class Schedule {
  readonly #plan: Plan
  readonly #prepared = new Map<string, Promise<unknown>>()
  #measurements = 0

  constructor(plan: Plan) {
    this.#plan = plan
  }

  /** Measures one row for all subjects. A subject that fails is dropped from the row, with its error. */
  async run(row: Row): Promise<RowResult> {
    const { profile } = this.#plan
    const subjects = this.#plan.subjects.filter((subject) => takesPart(subject, row))
    const measured = new Map<string, Measurement[]>(subjects.map(({ name }) => [name, []]))
    const errors = new Map<string, string>()
    for (let round = 0; round < profile.rounds; round++) {
      // A B B A: what drifts over time (heat, neighbours) meets the subjects evenly.
      const order = round % 2 === 0 ? subjects : [...subjects].reverse()
      const measure = async (subject: Subject): Promise<void> => {
        if (errors.has(subject.name)) return
        this.#plan.progress(`${row.name} ${round + 1}/${profile.rounds} ${subject.name}`)
        try {
          measured.get(subject.name)!.push(await this.#measure(row, subject, round))
        } catch (error) {
          errors.set(subject.name, (error as Error).message)
        }
      }
      const inTurn = async (some: readonly Subject[]): Promise<void> => {
        for (const subject of some) await measure(subject)
      }
      if (profile.name !== 'smoke') await inTurn(order)
      else {
        const writers = new Set(order.map(writerOf))
        await Promise.all([...writers].map((name) => inTurn(order.filter((one) => writerOf(one) === name))))
      }
    }
    return summarise(row, measured, errors)
  }

  async #measure(row: Row, subject: Subject, round: number): Promise<Measurement> {
    const { root, program, profile, folder } = this.#plan
    const smoke = profile.name === 'smoke'
    const fixtureDir = row.fixture ? await this.#prepare(row.fixture, subject) : ''
    const dir = join(folder, `written-${this.#measurements++}`)
    mkdirSync(dir)
    try {
      const answer = await runJob(program, {
        kind: 'measure',
        root,
        subject: subject.name,
        source: writerOf(subject),
        row: row.name,
        dir,
        fixtureDir,
        fixtureBlocks: this.#blocks(row.fixture),
        smoke,
        seed: round + 1,
        warm: smoke ? profile.warm : (row.warm ?? profile.warm),
        timed: profile.timed
      })
      if (answer.claim) {
        const checker = subject.checkedBy ?? baseline
        await runJob(program, { kind: 'check', root, subject: checker, claim: answer.claim })
      }
      return answer.measurement!
    } finally {
      removeFolder(dir)
    }
  }

  /** The folder of the subject's feed for `fixture`, made at first use. */
  async #prepare(fixture: Fixture, subject: Subject): Promise<string> {
    const { root, program, folder, progress } = this.#plan
    const writer = writerOf(subject)
    const dir = join(folder, `${fixture.name}-${writer}`)
    let prepared = this.#prepared.get(dir)
    if (prepared === undefined) {
      progress(`prepare ${fixture.name} ${writer}`)
      const blocks = this.#blocks(fixture)
      const { blockSize } = fixture
      prepared = runJob(program, { kind: 'prepare', root, subject: writer, dir, blockSize, blocks })
      this.#prepared.set(dir, prepared)
    }
    await prepared
    return dir
  }

  #blocks(fixture: Fixture | undefined): number {
    if (!fixture) return 0
    return this.#plan.profile.name === 'smoke' ? fixture.smokeBlocks : fixture.blocks
  }
}

/** Whether the subject can do the work of the row; mixed pairs only replicate. */
function takesPart({ source, lacks = [] }: Subject, { replicates, needs = [] }: Row): boolean {
  return (source === undefined || replicates === true) && !needs.some((method) => lacks.includes(method))
}

/** Name of the subject whose feeds this one reads and, in a pair, downloads from. */
function writerOf({ name, source }: Subject): string {
  return source ?? name
}
