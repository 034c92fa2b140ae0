/** A feed, a replica of it, and the arrays that say what both must answer. */
import assert from 'node:assert/strict'
import { type CallStyle, copyProof, type FeedFace, type OpenFeed } from '../helpers/feed-face.ts'
import {
  assertFeedIs,
  byteLengthOf,
  naiveRoots,
  naiveSeek,
  naiveVerify,
  sameNodes
} from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { rejection } from '../helpers/watchdog.ts'
import { BINARY, CODECS, type ModelCodec, randomValue } from './codecs.ts'
import { readStreamStep, writeStreamStep } from './streams.ts'

/** What is known about the feed's content. */
export interface Content {
  /** Encoded blocks, by index. */
  blocks: Buffer[]
  /** The values they were made from. */
  values: unknown[]
  present: boolean[]
}

type Step = [weight: number, name: string, run: () => Promise<void>]

/** One random sequence. */
export class FeedSimulation {
  /** What was done, newest last. */
  readonly trace: string[] = []
  /** How many operations were done. */
  steps = 0
  readonly random: SeededRandom
  readonly codec: ModelCodec
  readonly content: Content = { blocks: [], values: [], present: [] }
  /** The feed under test; null until the sequence begins. */
  feed!: FeedFace
  readonly #open: OpenFeed
  readonly #storage: unknown
  readonly #replicaStorage: () => unknown
  #key: Buffer = Buffer.alloc(0)
  #secretKey: Buffer = Buffer.alloc(0)
  #replica: FeedFace | null = null
  #replicaAt: unknown
  #replicaHas: boolean[] = []

  /**
   * @param seed - decides everything
   * @param storage - of the feed, the same at each reopening
   * @param replicaStorage - makes the storage of a new replica
   */
  constructor(seed: number, storage: unknown, replicaStorage: () => unknown) {
    this.random = new SeededRandom(seed)
    this.codec = this.random.pick(CODECS)
    // Both ways of calling, mixed.
    const style = (): CallStyle => (this.random.chance(0.5) ? 'promise' : 'callback')
    this.#open = ours(style)
    this.#storage = storage
    this.#replicaStorage = replicaStorage
  }

  /** Does `count` random operations, and then checks everything, before and after a reopening. */
  async run(count: number): Promise<void> {
    this.feed = this.#open(this.#storage, null, { valueEncoding: this.codec.name })
    await this.feed.ready()
    assert.equal(this.feed.writable, true, 'a new feed is writable')
    this.#key = this.feed.key
    this.#secretKey = this.feed.secretKey
    const table = this.#table()
    const total = table.reduce((sum, [weight]) => sum + weight, 0)
    while (this.steps < count) {
      let ticket = this.random.below(total)
      const [, name, step] = table.find(([weight]) => {
        ticket -= weight
        return ticket < 0
      })!
      this.note(name)
      this.steps++
      await step()
      assert.equal(this.feed.length, this.content.blocks.length, 'length')
      assert.equal(this.feed.byteLength, byteLengthOf(this.content.blocks), 'byteLength')
    }
    this.note('final check')
    await this.#check()
    await this.#reopen()
    await this.#check()
    await this.#checkReplica()
  }

  /** Closes whatever is still open, whatever state it is in. */
  async abandon(): Promise<void> {
    await this.feed?.close().catch(() => {})
    await this.#replica?.close().catch(() => {})
  }

  /** Adds to the trace. */
  note(text: string): void {
    this.trace.push(text)
  }

  /** A new value of the feed's encoding, with the block it becomes. */
  newValue(): { value: unknown; block: Buffer } {
    const value = randomValue(this.codec, this.random)
    return { value, block: this.codec.encode(value) }
  }

  /** Records blocks the feed has accepted. */
  accepted(added: readonly { value: unknown; block: Buffer }[]): void {
    for (const { value, block } of added) {
      this.content.values.push(value)
      this.content.blocks.push(block)
      this.content.present.push(true)
    }
  }

  #table(): Step[] {
    return [
      [8, 'append one', () => this.#append(1)],
      [8, 'append a batch', () => this.#append(this.random.between(2, 12))],
      [1, 'append nothing', () => this.#append(0)],
      [1, 'append many', () => this.#append(this.random.between(30, 120))],
      [4, 'append several at once', () => this.#burst()],
      [4, 'append while reading', () => this.#together()],
      [1, 'flush', () => this.feed.flush()],
      [5, 'clear', () => this.#clear()],
      [2, 'truncate', () => this.#truncate()],
      [4, 'reopen', () => this.#reopen()],
      [8, 'get', () => this.#get()],
      [5, 'getBatch', () => this.#getBatch()],
      [2, 'head', () => this.#head()],
      [5, 'has and downloaded', () => this.#has()],
      [8, 'seek', () => this.#seek()],
      [6, 'signature, verify and rootHashes', () => this.#signature()],
      [2, 'audit', () => this.#audit()],
      [6, 'read stream', () => readStreamStep(this)],
      [4, 'write stream', () => writeStreamStep(this)],
      [12, 'prove blocks to the replica', () => this.#prove()],
      [3, 'look at the replica', () => this.#checkReplica()],
      [2, 'reopen the replica', () => this.#reopenReplica()],
      [2, 'clear in the replica', () => this.#clearReplica()]
    ]
  }

  async #append(count: number): Promise<void> {
    const added = Array.from({ length: count }, () => this.newValue())
    const values = added.map(({ value }) => value)
    const alone = count === 1 && !Array.isArray(values[0]) && this.random.chance(0.7)
    const start = await this.feed.append(alone ? values[0] : values)
    assert.equal(start, this.content.blocks.length, 'append answers the index of its first block')
    this.accepted(added)
  }

  async #burst(): Promise<void> {
    const before = this.content.blocks.length
    const answers: Promise<number>[] = []
    const expected: number[] = []
    let next = before
    for (let n = this.random.between(2, 6); n > 0; n--) {
      const added = Array.from({ length: this.random.between(0, 4) }, () => this.newValue())
      answers.push(this.feed.append(added.map(({ value }) => value)))
      expected.push(next)
      next += added.length
      this.accepted(added)
    }
    assert.deepEqual(await Promise.all(answers), expected, 'each append answers its own first index')
  }

  async #together(): Promise<void> {
    const { blocks, values, present } = this.content
    const before = blocks.length
    const byteLength = byteLengthOf(blocks)
    const wanted = this.random.below(Math.max(1, before))
    const bytes = this.random.below(byteLength)
    const seekable = byteLength > 0 ? naiveSeek(blocks, bytes) : null
    const gets = present[wanted] ? [this.feed.get(wanted)] : []
    const seeks = seekable ? [this.feed.seek(bytes)] : []
    const expected = [...(present[wanted] ? [values[wanted]] : []), ...(seekable ? [seekable] : [])]
    const added = [this.newValue(), this.newValue()]
    const append = this.feed.append(added.map(({ value }) => value))
    assert.deepEqual(await Promise.all([...gets, ...seeks]), expected, 'reads beside an append')
    assert.equal(await append, before, 'append beside reads')
    this.accepted(added)
  }

  async #clear(): Promise<void> {
    const [start, end] = this.#range()
    const kept = this.random.chance(0.2) ? { delete: false } : {}
    this.note(`  [${start}, ${end})`)
    if (end - start === 1 && this.random.chance(0.3)) await this.feed.call('clear', start)
    else await this.feed.clear(start, end, kept)
    this.content.present.fill(false, start, end)
  }

  async #truncate(): Promise<void> {
    const { blocks, values, present } = this.content
    // Mostly a little; a feed that is always emptied never gets big.
    const least = this.random.chance(0.2) ? 0 : Math.max(0, blocks.length - 10)
    const length = this.random.between(least, blocks.length)
    this.note(`  to ${length} of ${blocks.length}`)
    await this.feed.truncate(length)
    blocks.length = values.length = present.length = length
    // What the replica holds may now be another history of the same key.
    await this.#dropReplica()
  }

  async #reopen(): Promise<void> {
    await this.feed.close()
    assert.equal(this.feed.writable, false, 'a closed feed is not writable')
    this.feed = this.#open(this.#storage, null, { valueEncoding: this.codec.name })
    await this.feed.ready()
    assert.deepEqual(this.feed.key, this.#key, 'the key after reopening')
    assert.deepEqual(this.feed.secretKey, this.#secretKey, 'the secret key after reopening')
    assert.equal(this.feed.writable, true, 'a reopened feed is writable')
    assert.equal(this.feed.feed.live, true, 'a reopened feed is live')
  }

  async #get(): Promise<void> {
    const { blocks, values, present } = this.content
    const index = this.random.below(blocks.length + 3)
    if (!present[index]) {
      const error = await rejection(this.feed.get(index, { wait: false }), `get(${index})`)
      assert.equal(error.message, 'Block not downloaded')
    } else if (this.random.chance(0.3)) {
      const hex = await this.feed.get(index, { valueEncoding: 'hex' })
      assert.equal(hex, blocks[index]!.toString('hex'), `get(${index}) as hex`)
    } else assert.deepEqual(await this.feed.get(index), values[index], `get(${index})`)
  }

  async #getBatch(): Promise<void> {
    const { values, present } = this.content
    const [start, end] = this.#range()
    if (start === end) return
    if (present.slice(start, end).every(Boolean)) {
      const batch = await this.feed.getBatch(start, end)
      assert.deepEqual([...batch], values.slice(start, end), `getBatch(${start}, ${end})`)
    } else {
      const error = await rejection(this.feed.getBatch(start, end, { wait: false }), 'getBatch')
      assert.equal(error.message, 'Block not downloaded')
    }
  }

  async #head(): Promise<void> {
    const { values, present } = this.content
    if (values.length === 0) {
      assert.equal((await rejection(this.feed.head(), 'head')).message, 'feed is empty')
    } else if (present.at(-1)) assert.deepEqual(await this.feed.head(), values.at(-1), 'head')
    else await rejection(this.feed.head({ wait: false }), 'head of a cleared block')
  }

  async #has(): Promise<void> {
    const { present } = this.content
    const index = this.random.below(present.length + 4)
    assert.equal(this.feed.has(index), present[index] ?? false, `has(${index})`)
    const [start, end] = this.#range()
    const part = present.slice(start, end)
    assert.equal(this.feed.downloaded(), present.filter(Boolean).length, 'downloaded()')
    if (start === end) return
    assert.equal(this.feed.has(start, end), part.every(Boolean), `has(${start}, ${end})`)
    assert.equal(
      this.feed.downloaded(start, end),
      part.filter(Boolean).length,
      `downloaded(${start}, ${end})`
    )
    assert.equal(this.feed.has(start, present.length + 1), false, 'has() over the end')
  }

  async #seek(): Promise<void> {
    const { blocks } = this.content
    const total = byteLengthOf(blocks)
    const border = byteLengthOf(blocks.slice(0, this.random.below(blocks.length + 1)))
    const offsets = [0, total, border, Math.max(0, border - 1), border + 1, this.random.below(total + 1)]
    for (const bytes of offsets) {
      const expected = naiveSeek(blocks, bytes)
      if (expected === null) await rejection(this.feed.seek(bytes, { wait: false }), `seek(${bytes})`)
      else assert.deepEqual(await this.feed.seek(bytes), expected, `seek(${bytes})`)
    }
    await rejection(this.feed.seek(total + 1 + this.random.below(1000), { wait: false }), 'seek over the end')
  }

  async #signature(): Promise<void> {
    const { blocks } = this.content
    await rejection(this.feed.signature(blocks.length), 'signature() over the end')
    if (blocks.length === 0) return
    const asked = this.random.below(blocks.length)
    const { index, signature } = await this.feed.signature(asked)
    assert.ok(index >= asked && index < blocks.length, `signature(${asked}) gave that of ${index}`)
    assert.ok(naiveVerify(blocks, index + 1, signature, this.#key), `the signature of ${index}`)
    assert.equal(await this.feed.verify(index, signature), true, `verify(${index})`)
    sameNodes(await this.feed.rootHashes(asked), naiveRoots(blocks, asked + 1), `rootHashes(${asked})`)
    const wrong = Buffer.from(signature)
    wrong[this.random.below(64)]! ^= 1 << this.random.below(8)
    await rejection(this.feed.verify(index, wrong), 'verify of a changed signature')
    if (index > 0) await rejection(this.feed.verify(index - 1, signature), 'verify at another length')
  }

  async #audit(): Promise<void> {
    const valid = this.content.present.filter(Boolean).length
    assert.deepEqual({ ...(await this.feed.audit()) }, { valid, invalid: 0 }, 'audit')
  }

  async #prove(): Promise<void> {
    const { blocks, values, present } = this.content
    if (blocks.length === 0) return
    const replica = await this.#replicaOf()
    const count = Math.min(blocks.length, this.random.between(1, 8))
    const indexes = this.random.shuffle(blocks.map((_, i) => i)).slice(0, count)
    for (const i of indexes) {
      const hashOnly = !present[i] || this.random.chance(0.2)
      const digest = this.random.chance(0.5) ? replica.digest(i) : 0
      this.note(`  block ${i}${hashOnly ? ' (hash only)' : ''}${digest ? ` beside ${digest}` : ''}`)
      const proof = await this.feed.proof(i, { digest, hash: hashOnly })
      if (digest === 0) assert.ok(proof.signature, 'a proof that starts from nothing is signed')
      // A false proof first: it must change nothing.
      if (!hashOnly && this.random.chance(0.3)) {
        const wrong = Buffer.concat([blocks[i]!, Buffer.from('x')])
        const before = [replica.length, replica.byteLength, replica.has(i)]
        const raw = this.codec === BINARY ? wrong : values[(i + 1) % values.length]
        if (!this.codec.encode(raw).equals(blocks[i]!)) {
          await rejection(replica.put(i, raw, copyProof(proof)), 'put of a wrong block')
          assert.deepEqual([replica.length, replica.byteLength, replica.has(i)], before, 'after a false put')
        }
      }
      const isNews = i >= replica.length
      await replica.put(i, hashOnly ? null : values[i], proof)
      if (!hashOnly) this.#replicaHas[i] = true
      if (isNews) assert.equal(replica.length, blocks.length, "the replica's length")
      assert.equal(replica.has(i), this.#replicaHas[i] ?? false, `the replica's has(${i})`)
    }
  }

  async #replicaOf(): Promise<FeedFace> {
    if (this.#replica === null) {
      this.#replicaAt = this.#replicaStorage()
      this.#replica = this.#open(this.#replicaAt, this.#key, { sparse: true, valueEncoding: this.codec.name })
      this.#replicaHas = []
      await this.#replica.ready()
      assert.equal(this.#replica.writable, false, 'a replica is not writable')
    }
    return this.#replica
  }

  async #reopenReplica(): Promise<void> {
    if (this.#replica === null) return
    const { length, byteLength } = this.#replica
    await this.#replica.close()
    this.#replica = this.#open(this.#replicaAt, null, { sparse: true, valueEncoding: this.codec.name })
    await this.#replica.ready()
    assert.deepEqual(this.#replica.key, this.#key, "the replica's key after reopening")
    assert.deepEqual([this.#replica.length, this.#replica.byteLength], [length, byteLength], 'its lengths')
    await this.#checkReplica()
  }

  async #clearReplica(): Promise<void> {
    const replica = this.#replica
    if (replica === null || replica.length === 0) return
    const start = this.random.below(replica.length)
    const end = this.random.between(start + 1, Math.min(replica.length, start + 20))
    this.note(`  [${start}, ${end})`)
    await replica.clear(start, end)
    this.#replicaHas.fill(false, start, end)
    await this.#checkReplica()
  }

  async #checkReplica(): Promise<void> {
    const replica = this.#replica
    if (replica === null) return
    const { blocks, values } = this.content
    assert.ok(replica.length <= blocks.length, 'the replica is not longer than the feed')
    assert.equal(
      replica.byteLength,
      byteLengthOf(blocks.slice(0, replica.length)),
      "the replica's byteLength"
    )
    for (let i = 0; i < blocks.length; i++) {
      assert.equal(replica.has(i), this.#replicaHas[i] ?? false, `the replica's has(${i})`)
      if (this.#replicaHas[i]) {
        assert.deepEqual(await replica.get(i, { wait: false }), values[i], `block ${i} of the replica`)
      }
    }
    const held = this.#replicaHas.filter(Boolean).length
    assert.deepEqual({ ...(await replica.audit()) }, { valid: held, invalid: 0 }, "the replica's audit")
    await this.#seekReplica(replica)
  }

  /** A sparse feed may not know where an offset is; what it does answer must be right. */
  async #seekReplica(replica: FeedFace): Promise<void> {
    const blocks = this.content.blocks.slice(0, replica.length)
    const bytes = this.random.below(replica.byteLength + 1)
    const expected = naiveSeek(blocks, bytes)
    let answer: unknown
    try {
      answer = await replica.seek(bytes, { wait: false })
    } catch (error) {
      assert.match((error as Error).message, /Unable to seek|Out of bounds/, 'a sparse feed may not know')
      return
    }
    assert.deepEqual(answer, expected, `seek(${bytes}) in the replica`)
  }

  async #dropReplica(): Promise<void> {
    await this.#replica?.close()
    this.#replica = null
  }

  async #check(): Promise<void> {
    await assertFeedIs(this.feed, this.content)
  }

  /** A range within the feed, sometimes empty, sometimes at an end. */
  #range(): [start: number, end: number] {
    const { length } = this.content.blocks
    const start = this.random.chance(0.2) ? 0 : this.random.below(length + 1)
    const end = this.random.chance(0.2) ? length : this.random.between(start, Math.min(length, start + 15))
    return [start, Math.max(start, end)]
  }
}
