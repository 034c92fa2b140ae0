/** What is done in one session of a story of turns, with a record of what must be there at each moment. */
import type { SimulatedDisk } from '../crash/disk.ts'
import type { State } from '../crash/workload.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import type { Content } from './turns-content.ts'
import type { Step } from './turns-plan.ts'

/** What a feed was at one time. */
export type Known = Omit<State, 'treeHash'>

/** What a session works on. */
export interface Worker {
  readonly disk: SimulatedDisk
  readonly feed: FeedFace
  /** What is there when it begins. */
  readonly content: Content
  /** Gets a line for each step. */
  readonly story: string[]
  /** Asked when an `append` was refused as a longer history is signed: whether one may be, and is to be given up. */
  givesUp(length: number): boolean
}

/** The work of one session. */
export class Work {
  readonly #worker: Worker
  /** One after the other; the first one is what was there. */
  readonly states: Known[]

  constructor(worker: Worker) {
    this.#worker = worker
    this.states = [{ ...worker.content, asked: -1, acknowledged: -1 }]
  }

  /** What the last call makes of the feed. */
  get last(): Known {
    return this.states[this.states.length - 1]!
  }

  async do(step: Step): Promise<void> {
    if (step.what === 'append') return this.#append(step.calls)
    const { length } = this.last.blocks
    if (step.what === 'truncate') return this.#truncate(step.length % (length + 1))
    if (length === 0) return
    const start = step.start % length
    return this.#clear(start, Math.min(length, start + step.end - step.start))
  }

  async #append(calls: readonly (readonly Buffer[])[]): Promise<void> {
    const { feed } = this.#worker
    const sizes = calls.map((blocks) => blocks.map((block) => block.byteLength).join(', ')).join(' and ')
    this.#tell(`append ${sizes} bytes at ${this.last.blocks.length}`)
    await Promise.all(
      calls.map((added) => {
        const { blocks, present } = this.last
        const content = { blocks: [...blocks, ...added], present: [...present, ...added.map(() => true)] }
        const value = added.length === 1 ? added[0] : [...added]
        return this.#becomes(content, () =>
          feed.append(value).catch((error: unknown) => this.#giveUp(error, value))
        )
      })
    )
  }

  /** Appends all the same, if that is what is to be done. */
  async #giveUp(error: unknown, value: unknown): Promise<unknown> {
    const { feed, givesUp } = this.#worker
    if ((error as { code?: unknown }).code !== 'ERR_BEHIND' || !givesUp(feed.length)) throw error
    this.#tell('  with force')
    return feed.call('append', value, { force: true })
  }

  #clear(start: number, end: number): Promise<void> {
    this.#tell(`clear ${start} … ${end}`)
    const { blocks, present } = this.last
    const content = { blocks, present: present.map((here, i) => here && (i < start || i >= end)) }
    return this.#becomes(content, () => this.#worker.feed.clear(start, end))
  }

  #truncate(length: number): Promise<void> {
    this.#tell(`truncate ${this.last.blocks.length} to ${length}`)
    const { blocks, present } = this.last
    const content = { blocks: blocks.slice(0, length), present: present.slice(0, length) }
    return this.#becomes(content, () => this.#worker.feed.truncate(length))
  }

  async #becomes(content: Content, call: () => Promise<unknown>): Promise<void> {
    const { disk } = this.#worker
    const state: Known = { ...content, asked: disk.now++, acknowledged: Infinity }
    this.states.push(state)
    await call()
    state.acknowledged = disk.now++
  }

  #tell(line: string): void {
    this.#worker.story.push(`  ${line}`)
  }
}
