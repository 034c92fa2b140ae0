import type { Feed } from '../../src/index.ts'
import type { Arguments } from './arguments.ts'
import { audit, rebuild, seekAtRandom } from './examine-feed.ts'
import { check, stopIfAsked } from './failure.ts'
import { importFile } from './import-file.ts'
import { openFeed } from './open-feed.ts'
import { type Progress, startProgress } from './progress.ts'
import { pickAtRandom, proveBlocks } from './prove-blocks.ts'
import { Source } from './source.ts'
import { count, megabytes, seconds, speed } from './units.ts'
import { prepareWorkplace, type Workplace } from './workplace.ts'

/** How many random places and blocks are looked at. */
const SAMPLES = 3

/** What a run needs of its process. */
interface Surroundings {
  output: NodeJS.WriteStream
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
}

/** The whole job: file to feed, feed to file, and proofs to somebody else. */
export async function run(args: Arguments, around: Surroundings): Promise<void> {
  const source = await Source.open(args.file)
  try {
    await new Run(source, await prepareWorkplace(args.keep), around).all()
  } finally {
    await source.close()
  }
}

class Run {
  readonly #source: Source
  readonly #place: Workplace
  readonly #output: NodeJS.WriteStream
  readonly #signal: AbortSignal

  constructor(source: Source, place: Workplace, { output, signal }: Surroundings) {
    this.#source = source
    this.#place = place
    this.#output = output
    this.#signal = signal
  }

  async all(): Promise<void> {
    const started = performance.now()
    const size = this.#source.size
    this.#tell('file', `${this.#source.path}, ${megabytes(size)}`)

    const { key, length, sha256, time } = await this.#using({}, (feed) => this.#import(feed))
    await this.#using({ createIfMissing: false }, async (feed) => {
      check(hex(feed.key) === key && feed.length === length, 'The feed is another one after reopening.')
      this.#tell('reopened', 'same key, same length')
      await this.#examine(feed, sha256)
      await this.#prove(feed)
    })

    this.#output.write('\n')
    this.#tell('key', key)
    this.#tell('length', count(length, 'block'))
    this.#tell('bytes', String(size))
    this.#tell('time', `${seconds(time)} for the import, ${seconds(performance.now() - started)} in all`)
    this.#tell('speed', speed(size, time))
    if (this.#place.kept) this.#tell('kept in', this.#place.feed)
  }

  async #import(feed: Feed): Promise<{ key: string; length: number; sha256: string; time: number }> {
    const { size } = this.#source
    const started = performance.now()
    const { sha256, found } = await this.#showing('importing', (progress) =>
      importFile(feed, this.#source, progress, this.#signal)
    )
    const time = performance.now() - started
    const compared = found > 0 ? `, ${found} of them were here already and are the same` : ''
    const pace = `in ${seconds(time)}, ${speed(size, time)}`
    this.#tell('imported', `${count(feed.length, 'block')} ${pace}${compared}`)
    return { key: hex(feed.key), length: feed.length, sha256, time }
  }

  async #examine(feed: Feed, sha256: string): Promise<void> {
    const started = performance.now()
    const valid = await audit(feed)
    const time = performance.now() - started
    const pace = `in ${seconds(time)}, ${speed(feed.byteLength, time)}`
    this.#tell('audited', `${count(valid, 'block')} valid, 0 invalid ${pace}`)

    for (let i = 0; i < SAMPLES && feed.length > 0; i++) {
      stopIfAsked(this.#signal)
      const { byte, block, offset, compared } = await seekAtRandom(feed, this.#source)
      this.#tell('sought', `byte ${byte} is byte ${offset} of block ${block}, ${compared} bytes are equal`)
    }

    const rebuilt = await this.#showing('rebuilding', (progress) =>
      rebuild(feed, this.#place.rebuilt, progress, this.#signal)
    )
    check(rebuilt === sha256, `The rebuilt file has the SHA-256 ${rebuilt} instead of ${sha256}.`)
    this.#tell('rebuilt', `SHA-256 ${sha256}, equal to the file's`)
  }

  async #prove(feed: Feed): Promise<void> {
    stopIfAsked(this.#signal)
    const blocks = pickAtRandom(SAMPLES, feed.length)
    for (const { block, bytes, nodes, signed } of await proveBlocks(feed, blocks)) {
      const signature = signed ? ' and a signature' : '; the signature is known'
      this.#tell(
        'proved',
        `block ${block}: ${bytes} bytes travelled with ${count(nodes, 'node')}${signature}`
      )
    }
  }

  /** Does something with the open feed and closes it, come what may. */
  async #using<T>(options: { createIfMissing?: boolean }, work: (feed: Feed) => Promise<T>): Promise<T> {
    stopIfAsked(this.#signal)
    const feed = await openFeed(this.#place.feed, options)
    try {
      return await work(feed)
    } finally {
      await feed.close()
    }
  }

  async #showing<T>(what: string, work: (progress: Progress) => Promise<T>): Promise<T> {
    const progress = startProgress(what, this.#source.size, this.#output)
    try {
      return await work(progress)
    } finally {
      progress.end()
    }
  }

  #tell(what: string, text: string): void {
    this.#output.write(`${what.padEnd(10)} ${text}\n`)
  }
}

function hex(key: Uint8Array | null): string {
  return Buffer.from(key ?? []).toString('hex')
}
