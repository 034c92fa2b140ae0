/**
 * Damaged files: a stored feed is changed as disks, backups and enemies change it, and opened.
 *
 * What must hold: it opens, or is refused with a code and nothing is written; each block that is given out is what was
 * appended there; the rest are errors with codes; nothing hangs or escapes. A writer signs nothing but the true history, and
 * never below a length that it can see signed. A secret key stays as it is. What it uploads is true, and with an honest peer it
 * gets whole again.
 */

import flat from 'flat-tree'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { TreeBits } from '../../src/bitfield/tree-bits.ts'
import type { Recovery } from '../../src/feed/recovered.ts'
import { CHECKPOINT_NAMES } from '../../src/storage/checkpoint-files.ts'
import { decodeFrames } from '../../src/storage/checkpoint-frames.ts'
import { type DiskOptions, SimulatedDisk } from '../crash/disk.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { MemoryFiles, SIX_FILES } from '../helpers/memory-files.ts'
import { naiveVerify } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { connect } from '../helpers/replication-feeds.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'
import { FileChanger } from './file-changes.ts'
import { guarded, isCoded, type Outcome, told } from './outcome.ts'
import { type StoredFeed, storedFeeds } from './stored-feeds.ts'

const open = ours()
const NEXT = Buffer.from('appended after the damage')
const EMPTY = Buffer.alloc(0)
// Of long feeds not every block is read each time.
const READS = 60
// Milliseconds for any call: only a hang takes so long.
const PATIENCE = 8000

/** Runs one seed. */
export function fuzzFiles(seed: number): Promise<Outcome> {
  return guarded(seed, async (problems) => {
    const feeds = await storedFeeds()
    const random = new SeededRandom(seed)
    const large = random.chance(0.02)
    const stored = random.pick(feeds.filter(({ blocks }) => blocks.length > 1000 === large))
    return new Run(random, stored, feeds, problems).go()
  })
}

class Run {
  readonly #random: SeededRandom
  readonly #stored: StoredFeed
  readonly #problems: string[]
  readonly #disk: SimulatedDisk
  readonly #changer: FileChanger
  /** The files as they were when the feed was opened. */
  readonly #damaged: MemoryFiles
  readonly #options: object
  readonly #withKey: boolean
  /** What each block may be read as. */
  readonly #right: Buffer[][]
  /** Blocks of the true history. */
  #length: number
  #feed: FeedFace

  constructor(random: SeededRandom, stored: StoredFeed, others: readonly StoredFeed[], problems: string[]) {
    this.#random = random
    this.#stored = stored
    this.#problems = problems
    const files = stored.files.clone()
    this.#changer = new FileChanger(random, files, stored, others)
    for (let left = random.pick([1, 1, 1, 2, 3, 5]); left > 0; left--) this.#changer.change()
    this.#damaged = files
    const disk: DiskOptions = {
      extraFiles: stored.extraFiles,
      immediate: random.chance(0.5),
      stamps: random.chance(0.5)
    }
    this.#disk = new SimulatedDisk(disk, files)
    this.#right = stored.appended.map((blocks) => [...blocks])
    this.#length = stored.blocks.length
    this.#withKey = random.chance(0.5)
    this.#options = {
      sparse: true,
      ...(random.chance(0.2) && { verify: 'always' }),
      ...(random.chance(0.2) && { repair: true })
    }
    this.#feed = this.#make()
  }

  #make(): FeedFace {
    const { key } = this.#stored
    return open(this.#disk.factory(), this.#withKey ? Buffer.from(key) : null, this.#options)
  }

  #wrong(what: string): void {
    const { name } = this.#stored
    const context = `${name}; ${this.#changer.log.join('; ')}; options ${JSON.stringify(this.#options)}, key given: ${this.#withKey}`
    this.#problems.push(`${what}\n  in ${context}`)
  }

  async go(): Promise<string> {
    const random = this.#random
    const opened = await this.#open()
    if (opened !== null) return opened
    const steps = random.shuffle([
      () => this.#readAll(),
      () => this.#readRuns(),
      () => this.#append(),
      () => this.#audit(),
      () => this.#upload(),
      () => this.#heal()
    ])
    for (const step of steps.slice(0, random.between(1, steps.length))) await step()
    await this.#readAll()
    await this.#close()
    this.#feed = this.#make()
    // It may have found out more by now, and refuse.
    const again = await this.#open()
    if (again === null) {
      await this.#readAll()
      await this.#close()
    }
    this.#checkSecretKey()
    return again === null ? this.#howItOpened : `later ${again}`
  }

  #howItOpened = 'opened'

  /** Opens the feed. Answers the code of a refusal, or null. */
  async #open(): Promise<string | null> {
    const before = this.#disk.files.clone()
    try {
      await this.#feed.ready()
    } catch (error) {
      if (!isCoded(error)) {
        this.#wrong(`opening: not a coded error: ${told(error)}`)
        return 'uncoded'
      }
      for (const file of SIX_FILES) {
        const [was, is] = [before.read(file), this.#disk.files.read(file)]
        if (Buffer.compare(was ?? Buffer.alloc(0), is ?? Buffer.alloc(0)) !== 0) {
          this.#wrong(`${file} was changed by an opening that was refused with ${error.code}`)
        }
      }
      this.#checkSecretKey()
      await this.#feed.close().catch(() => {})
      return error.code
    }
    const { recovery } = this.#feed.feed as unknown as { recovery: Recovery | null }
    if (recovery !== null) this.#howItOpened = 'recovered'
    const hasContent = ['tree', 'bitfield', 'signatures', 'data'].some(
      (file) => (before.read(file)?.byteLength ?? 0) > (file === 'data' ? 0 : 32)
    )
    if (this.#feed.writable && (hasContent || this.#wasHere(before)) && !this.#isSameFeed)
      this.#wrong('opened with another identity')
    return null
  }

  /** Whether files tell that there was a feed, with or without blocks. With `repair` it may be given up. */
  #wasHere(files: MemoryFiles): boolean {
    const { key, extraFiles, files: original } = this.#stored
    const secret = original.read('secret_key')
    const isSame = (was: Uint8Array, is: Uint8Array | null) => is !== null && Buffer.compare(was, is) === 0
    if (secret !== null && isSame(secret, files.read('secret_key'))) return true
    // Another key may have been put there by somebody who knows no checkpoints.
    const keyLost = (files.read('key') ?? EMPTY).every((byte) => byte === 0)
    if (!extraFiles || !keyLost || 'repair' in this.#options) return false
    const headers = ['tree', 'bitfield', 'signatures'].some(
      (name) => (files.read(name)?.byteLength ?? 0) >= 32
    )
    return (
      headers &&
      CHECKPOINT_NAMES.some((name) => decodeFrames(key, files.read(name) ?? EMPTY).frames.length > 0)
    )
  }

  get #isSameFeed(): boolean {
    return this.#feed.key.equals(this.#stored.key)
  }

  /** Answers what a call is answered with, or the code it is refused with. */
  async #ask<T>(what: string, call: () => Promise<T>): Promise<{ value: T } | { code: string }> {
    try {
      return { value: await within(call(), what, PATIENCE) }
    } catch (error) {
      if (!isCoded(error)) this.#wrong(`${what}: not a coded error: ${told(error)}`)
      return { code: (error as { code?: string }).code ?? 'none' }
    }
  }

  #compare(index: number, block: unknown, how: string): void {
    const got = Buffer.from(block as Uint8Array)
    const right = this.#right[index] ?? []
    if (right.some((one) => one.equals(got))) return
    const text = got.length > 40 ? `${got.length} bytes` : `'${got.toString('hex')}'`
    this.#wrong(`${how}: block ${index} of ${this.#feed.length} (${this.#length}) is ${text}`)
  }

  async #readAll(): Promise<void> {
    const random = this.#random
    const last = Math.max(this.#length, Math.min(this.#feed.length, this.#length + 5))
    const indexes = Array.from({ length: last + 1 }, (_, i) => i)
    const chosen = indexes.length > 1000 ? Array.from({ length: READS }, () => random.pick(indexes)) : indexes
    for (const index of random.shuffle(chosen)) {
      const answer = await this.#ask(`get(${index})`, () => this.#feed.get(index, { wait: false }))
      if ('value' in answer) this.#compare(index, answer.value, 'get')
    }
  }

  /** Reads runs of blocks: in batches, by streams. */
  async #readRuns(): Promise<void> {
    const random = this.#random
    const feed = this.#feed
    for (let left = 3; left > 0; left--) {
      const start = random.below(feed.length + 1)
      const end = Math.min(feed.length, start + 1 + random.below(12))
      if (random.chance(0.5)) {
        const what = `getBatch(${start}, ${end})`
        const answer = await this.#ask(what, () => feed.call('getBatch', start, end, { wait: false }))
        if ('value' in answer) {
          ;(answer.value as unknown[]).forEach((block, i) => {
            this.#compare(start + i, block, 'getBatch')
          })
        }
        continue
      }
      let next = start
      const stream = feed.feed.createReadStream({ start, end, wait: false, live: false, timeout: 300 })
      await this.#ask(
        `createReadStream ${start} … ${end}`,
        () =>
          new Promise<void>((resolve, reject) => {
            stream.on('data', (block: unknown) => this.#compare(next++, block, 'createReadStream'))
            stream.on('error', reject)
            stream.on('close', () => resolve())
          })
      )
    }
  }

  /** Lengths whose true signature is in the files as they were opened. */
  #signedLengths(): number[] {
    const stored = this.#damaged.read('signatures')
    const lengths: number[] = []
    for (let length = 1; length <= this.#stored.blocks.length; length++) {
      const at = 32 + 64 * (length - 1)
      const original = this.#stored.files.read('signatures')?.subarray(at, at + 64)
      const found = stored?.subarray(at, at + 64)
      if (original?.some((byte) => byte !== 0) && found?.byteLength === 64) {
        if (Buffer.compare(original, found) === 0) lengths.push(length)
      }
    }
    return lengths
  }

  /**
   * Whether a signature beyond the end is just what published packages leave when they overwrite a feed by a shorter one (docs/reliability.md,
   * "Damage at rest"): no checkpoint of this key, no bit of a node beyond the end, other nodes in the places of its roots.
   */
  #asOverwritten(signed: number, length: number): boolean {
    const { key, extraFiles } = this.#stored
    if (!extraFiles) return false
    const checkpoints = CHECKPOINT_NAMES.map((name) => this.#damaged.read(name))
    if (checkpoints.some((bytes) => bytes !== null && decodeFrames(key, bytes).frames.length > 0))
      return false
    const pages = new Pages(PAGE_SIZE)
    pages.load(this.#damaged.read('bitfield')!.subarray(32))
    const bits = new TreeBits(pages)
    if (bits.any(2 * length, bits.length)) return false
    const roots = flat.fullRoots(2 * signed).map((index) => {
      const [is, was] = [this.#damaged, this.#stored.files].map((files) =>
        files.read('tree')?.subarray(32 + 40 * index, 72 + 40 * index)
      )
      return { is, same: Buffer.compare(is ?? EMPTY, was ?? EMPTY) === 0 }
    })
    const present = roots.every(({ is }) => is?.byteLength === 40 && is.some((byte) => byte !== 0))
    return present && !roots.every(({ same }) => same)
  }

  async #append(): Promise<void> {
    const feed = this.#feed
    if (!feed.writable || !this.#isSameFeed || this.#length !== this.#stored.blocks.length) return
    const { length } = feed
    const answer = await this.#ask('append', () => feed.append(NEXT))
    if ('code' in answer) return
    // Without a checkpoint one block that the bits are ahead of the tree counts as never finished (spec FORMAT §6 step 12).
    const asPublished = CHECKPOINT_NAMES.every((name) => this.#damaged.read(name) === null)
    const below = this.#signedLengths().find(
      (signed) =>
        signed > length && !(asPublished && signed === length + 1) && !this.#asOverwritten(signed, length)
    )
    if (below !== undefined) {
      this.#wrong(`appended at ${length}, where the signature of ${below} can be seen`)
    }
    // Files of a backup may bring the history back that was there before a truncation.
    const blocks = [...this.#stored.appended.slice(0, length).map(([first]) => first!), NEXT]
    this.#right[length] = [...(this.#right[length] ?? []), NEXT]
    this.#length = Math.max(this.#length, length + 1)
    const signature = await this.#ask('signature', () => feed.call('signature', length))
    if ('code' in signature) {
      this.#wrong(`no signature of what was appended at ${length}: ${signature.code}`)
      return
    }
    const { signature: bytes } = signature.value as { signature: Uint8Array }
    const holds = blocks.length === length + 1 && naiveVerify(blocks, length + 1, bytes, this.#stored.key)
    if (!holds) this.#wrong(`what was signed at ${length} is not the history (${this.#stored.blocks.length})`)
  }

  async #audit(): Promise<void> {
    const options = this.#random.pick([undefined, {}, { repair: true }])
    await this.#ask('audit', () =>
      options === undefined ? this.#feed.call('audit') : this.#feed.call('audit', options)
    )
  }

  /** A fresh copy gets what there is; nothing of it is refused. */
  async #upload(): Promise<void> {
    if (!this.#isSameFeed) return
    const copy = open(new MemoryFiles().factory(), Buffer.from(this.#stored.key), { sparse: true })
    await copy.ready()
    const connection = connect(this.#feed, copy, { live: true, timeout: PATIENCE / 2 })
    void connection.ends.then(([ours, theirs]) => {
      for (const [error, who] of [
        [ours, 'the damaged feed'],
        [theirs, 'the copy']
      ] as const) {
        if (error !== null) this.#wrong(`uploading: the stream of ${who} ended with ${told(error)}`)
      }
    })
    await this.#ask('update of the copy', () => copy.call('update', { ifAvailable: true }))
    const indexes = Array.from({ length: Math.min(copy.length, this.#length + 5) }, (_, i) => i)
    for (const index of this.#random.shuffle(indexes).slice(0, READS)) {
      const what = `get(${index}) of the copy`
      const answer = await this.#ask(what, () => copy.get(index, { ifAvailable: true }))
      if ('value' in answer) this.#compare(index, answer.value, 'the copy')
    }
    await connection.cut()
    await copy.close()
  }

  /** An honest peer has everything. */
  async #heal(): Promise<void> {
    const feed = this.#feed
    // Who has appended below the end, which could not be seen any more, is on a branch of its own.
    if (!this.#isSameFeed || feed.writable) return
    const source = open(this.#stored.honest.clone().factory())
    await source.ready()
    const connection = connect(feed, source, { live: true, timeout: PATIENCE / 2 })
    const failed = connection.ends.then(([ours, theirs]) => {
      throw ours ?? theirs ?? new Error('the connection ended')
    })
    failed.catch(() => {})
    for (const index of this.#random.shuffle(this.#stored.blocks.map((_, i) => i)).slice(0, READS)) {
      if (!source.has(index)) continue
      const answer = await this.#ask(`get(${index}) from a peer`, () =>
        Promise.race([feed.get(index, { timeout: PATIENCE / 2 }), failed])
      )
      if ('value' in answer) this.#compare(index, answer.value, 'with a peer')
      else {
        this.#wrong(`get(${index}) beside an honest peer: ${answer.code}`)
        break
      }
    }
    await connection.cut().catch(() => {})
    await source.close()
  }

  async #close(): Promise<void> {
    await this.#ask('close', () => this.#feed.close())
  }

  /** Nothing but `overwrite` and `destroyStorage` may touch it. */
  #checkSecretKey(): void {
    const was = this.#damaged.read('secret_key')
    if (was === null || was.every((byte) => byte === 0)) return
    const is = this.#disk.files.read('secret_key')
    if (is === null || Buffer.compare(was, is) !== 0) this.#wrong('the secret key was changed')
  }
}
