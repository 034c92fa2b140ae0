/** Several feeds of one key that replicate over bad connections, and the plain array that says what they must hold. */
import assert from 'node:assert/strict'
import RAM from 'random-access-memory'
import type { FeedFace } from '../helpers/feed-face.ts'
import { until } from '../helpers/replication-feeds.ts'
import { OURS, replicating } from '../helpers/replication-subjects.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { Network } from './replication-network.ts'

// Milliseconds between two looks for the process being held up.
const LOOK = 20

/** One feed of the simulation. */
export interface Member {
  readonly name: string
  readonly feed: FeedFace
  readonly kind: 'writer' | 'full' | 'sparse'
  /** Blocks that somebody asked a sparse feed for. */
  readonly asked: Set<number>
  /** Bytes of the blocks that were stored, counted each time. */
  storedBytes: number
}

// What a call may be answered with instead of a value.
const NO_VALUE = new Set([
  'ERR_BLOCK_NOT_AVAILABLE',
  'ERR_UPDATE_NOT_AVAILABLE',
  'ERR_SEEK_NOT_AVAILABLE',
  'ERR_REQUEST_CANCELLED',
  'ECANCELED',
  'ETIMEDOUT'
])

interface Pending {
  what: string
  /** The block that it waits for, if it is one. */
  index: number | null
  cancel(): void
  over: boolean
  answer: Promise<void>
}

/** One random sequence. */
export class ReplicationSimulation {
  /** What was done, newest last. */
  readonly trace: string[] = []
  readonly random: SeededRandom
  readonly blocks: Buffer[] = []
  readonly members: Member[] = []
  readonly #network: Network
  readonly #pending: Pending[] = []
  #cancels = 0
  #failure: Error | null = null

  readonly #watch: NodeJS.Timeout
  /**
   * Whether the process did nothing for a while: then answers that are here and not read count as late, and blocks are asked
   * for twice for good reason.
   */
  heldUp = false

  /** @param seed - decides everything but the order in which the machine does things */
  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    let looked = performance.now()
    this.#watch = setInterval(() => {
      const now = performance.now()
      if (now - looked > 4 * LOOK) this.heldUp = true
      looked = now
    }, LOOK)
    this.#network = new Network(
      this.random,
      (text) => this.#note(text),
      (error) => {
        this.#failure ??= error
      }
    )
  }

  /** Does `steps` random things over bad connections, and then waits over good ones until all feeds are equal. */
  async run(steps: number): Promise<void> {
    await this.#begin()
    for (let i = 0; i < steps; i++) {
      await this.#step()
      await settle(this.random.below(4))
      if (this.#failure !== null) throw this.#failure
    }
    await this.#wildWaste()
    await this.#calm()
    await this.#check()
  }

  /** Closes everything. */
  async close(): Promise<void> {
    clearInterval(this.#watch)
    await this.#network.cutAll()
    await Promise.all(this.members.map(({ feed }) => feed.close().catch(() => {})))
  }

  #note(text: string): void {
    this.trace.push(text)
  }

  async #begin(): Promise<void> {
    const count = this.random.between(2, 6)
    const writer = await this.#join('writer', null)
    await this.#append(this.random.between(0, 30))
    for (let i = 1; i < count; i++)
      await this.#join(this.random.chance(0.4) ? 'sparse' : 'full', writer.feed.key)
    // Nothing to look at without one.
    if (!this.members.some(({ kind }) => kind === 'full')) await this.#join('full', writer.feed.key)
    for (const member of this.members) this.#network.add(member)
  }

  async #join(kind: Member['kind'], key: Uint8Array | null): Promise<Member> {
    const feed = OURS.open(() => new RAM({ pageSize: 4096 }), key, { sparse: kind === 'sparse' })
    const member: Member = {
      name: `${kind} ${this.members.length}`,
      feed,
      kind,
      asked: new Set(),
      storedBytes: 0
    }
    replicating(feed).on('download', (index: number, data: Uint8Array) => {
      member.storedBytes += data.byteLength
      this.#guard(() => {
        assert.deepEqual(Buffer.from(data), this.blocks[index], `block ${index} as ${member.name} got it`)
        if (kind === 'sparse') assert.ok(member.asked.has(index), `${member.name} got block ${index} unasked`)
      })
    })
    replicating(feed).on('upload', (index: number, data: Uint8Array) => {
      this.#guard(() =>
        assert.deepEqual(Buffer.from(data), this.blocks[index], `block ${index} as it was sent`)
      )
    })
    await feed.ready()
    this.members.push(member)
    return member
  }

  #guard(check: () => void): void {
    try {
      check()
    } catch (error) {
      this.#failure ??= error as Error
    }
  }

  async #step(): Promise<void> {
    const { random } = this
    const ticket = random.below(100)
    if (ticket < 18) this.#network.connectTwo()
    else if (ticket < 24) this.#network.cutOne()
    else if (ticket < 40) await this.#append(random.pick([1, 1, 2, 5, 20]))
    else if (ticket < 47) await this.#clear()
    else if (ticket < 62) this.#get()
    else if (ticket < 70) this.#seek()
    else if (ticket < 77) this.#update()
    else if (ticket < 86) this.#download()
    else if (ticket < 93) this.#cancel()
    else this.#switch()
  }

  async #append(count: number): Promise<void> {
    const added = Array.from({ length: count }, () =>
      this.random.bytes(this.random.pick([0, 1, 10, 100, 300]))
    )
    this.#note(`append ${count}`)
    if (count === 0) return
    this.blocks.push(...added)
    await this.members[0]!.feed.append(added)
  }

  async #clear(): Promise<void> {
    const member = this.random.pick(this.members)
    const { length } = member.feed
    const start = this.random.below(length)
    const end = Math.min(length, start + this.random.between(1, 6))
    if (length === 0) return
    this.#note(`${member.name}: clear ${start} ${end}`)
    await member.feed.clear(start, end)
  }

  #reader(): Member {
    return this.random.pick(this.members.slice(1))
  }

  /** Mostly a block that exists, sometimes one that does not yet. */
  #index(): number {
    return this.random.below(this.blocks.length + 3)
  }

  #get(): void {
    const member = this.#reader()
    const index = this.#index()
    const options = {
      ...(this.random.chance(0.2) && { timeout: this.random.between(1, 20) }),
      ...(this.random.chance(0.3) && { ifAvailable: true })
    }
    this.#note(`${member.name}: get ${index} ${JSON.stringify(options)}`)
    member.asked.add(index)
    const token = Symbol('get')
    this.#track(
      `${member.name}: get ${index}`,
      index,
      () => replicating(member.feed).cancel(token),
      async () => {
        const block = await member.feed.get(index, { ...options, cancel: token })
        assert.deepEqual(
          Buffer.from(block as Uint8Array),
          this.blocks[index],
          `get(${index}) of ${member.name}`
        )
      }
    )
  }

  #seek(): void {
    const member = this.#reader()
    const total = this.blocks.reduce((sum, block) => sum + block.byteLength, 0)
    const bytes = this.random.below(total + 1)
    this.#note(`${member.name}: seek ${bytes}`)
    // How the bytes of a pair are shared out is unproven until one of its blocks is there, so that one is fetched.
    let end = 0
    const index = this.blocks.findIndex((block) => {
      end += block.byteLength
      return end > bytes
    })
    for (const block of [index & ~1, index | 1]) member.asked.add(block)
    // A place is the same in every feed that is long enough: the first block that reaches beyond it.
    this.#track(
      `${member.name}: seek ${bytes}`,
      null,
      () => replicating(member.feed).cancel(0, 2 ** 40),
      async () => {
        const [index, offset] = await member.feed.seek(bytes, { ifAvailable: true })
        let before = 0
        for (let i = 0; i < index; i++) before += this.blocks[i]!.byteLength
        assert.equal(before + offset, bytes, `seek(${bytes}) of ${member.name}`)
        assert.ok(offset === 0 || offset < this.blocks[index]!.byteLength, 'the offset is inside the block')
      }
    )
  }

  #update(): void {
    const member = this.#reader()
    const wanted = this.random.between(1, this.blocks.length + 1)
    this.#note(`${member.name}: update ${wanted}`)
    this.#track(
      `${member.name}: update ${wanted}`,
      null,
      () => {},
      async () => {
        await member.feed.call('update', { minLength: wanted, ifAvailable: true })
        assert.ok(member.feed.length >= wanted, `update(${wanted}) of ${member.name}`)
      }
    )
  }

  #download(): void {
    const member = this.#reader()
    const start = this.#index()
    const end = start + this.random.between(1, 12)
    const range = this.random.chance(0.3)
      ? { blocks: this.random.shuffle([start, start + 2, end]) }
      : { start, end, linear: this.random.chance(0.5) }
    this.#note(`${member.name}: download ${JSON.stringify(range)}`)
    for (let i = start; i <= Math.max(end, start + 2); i++) member.asked.add(i)
    let selection: object = {}
    this.#track(
      `${member.name}: download ${JSON.stringify(range)}`,
      end,
      () => replicating(member.feed).undownload(selection),
      () =>
        new Promise((resolve, reject) => {
          selection = replicating(member.feed).download(range, (error) => (error ? reject(error) : resolve()))
        })
    )
  }

  #cancel(): void {
    const open = this.#pending.filter(({ over }) => !over)
    const one = this.random.pick(open)
    if (one === undefined) return
    this.#note(`cancel ${one.what}`)
    this.#cancels++
    one.cancel()
  }

  #switch(): void {
    const member = this.random.pick(this.members)
    const method = member.kind === 'writer' || this.random.chance(0.5) ? 'setUploading' : 'setDownloading'
    const on = this.random.chance(0.6)
    this.#note(`${member.name}: ${method} ${on}`)
    this.#cancels++
    replicating(member.feed)[method](on)
  }

  #track(what: string, index: number | null, cancel: () => void, call: () => Promise<void>): void {
    const pending: Pending = { what, index, cancel, over: false, answer: Promise.resolve() }
    pending.answer = call()
      .catch((error: Error & { code?: string }) => {
        if (NO_VALUE.has(error.code ?? '')) return
        error.message = `${what}: ${error.message}`
        this.#failure ??= error
      })
      .finally(() => {
        pending.over = true
      })
    this.#pending.push(pending)
  }

  #uploadedBytes(): number {
    return this.members.reduce((sum, { feed }) => sum + replicating(feed).stats!.totals.uploadedBytes, 0)
  }

  #storedBytes(): number {
    return this.members.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
  }

  /** Blocks are lost only with what was cut or cancelled: at most what one peer has in flight. */
  async #wildWaste(): Promise<void> {
    await this.#network.cutAll()
    const forgiven = (2 * this.#network.made + this.#cancels) * 32 * 300
    const [uploaded, stored] = [this.#uploadedBytes(), this.#storedBytes()]
    assert.ok(uploaded <= stored * 1.02 + forgiven, `${uploaded} bytes were sent and ${stored} stored`)
  }

  /** Everybody meets everybody over good connections. */
  async #calm(): Promise<void> {
    this.#note('calm')
    for (const { feed, kind } of this.members) {
      replicating(feed).setUploading(true)
      if (kind !== 'writer') replicating(feed).setDownloading(true)
    }
    const [uploadedBefore, storedBefore] = [this.#uploadedBytes(), this.#storedBytes()]
    this.#network.connectAll()
    const union = this.blocks.map((_, index) =>
      this.members.some(({ feed }) => index < feed.length && feed.has(index))
    )
    const count = union.filter(Boolean).length
    for (const { feed, kind, name } of this.members) {
      if (kind !== 'full') continue
      await until(() => this.#failure !== null || feed.downloaded() === count, `${name}: ${count} blocks`)
      if (this.#failure !== null) throw this.#failure
      for (const [index, exists] of union.entries())
        assert.equal(feed.has(index), exists, `${name}: block ${index}`)
    }
    // What is cancelled while it is on its way was sent for nothing.
    await settle(20)
    await this.#network.quiet()
    for (const pending of this.#pending) {
      if (pending.over) continue
      const possible = pending.index !== null && pending.index < union.length && union[pending.index]!
      if (possible && / get /.test(pending.what)) await within(pending.answer, pending.what)
      else pending.cancel()
    }
    await settle(20)
    await this.#network.quiet()
    const uploaded = this.#uploadedBytes() - uploadedBefore
    const stored = this.#storedBytes() - storedBefore
    assert.ok(uploaded <= stored * 1.02 + 300, `${uploaded} bytes were sent for ${stored} that were stored`)
    const sent = this.#network.bytesSent()
    const proof = 46 * (2 * Math.ceil(Math.log2(this.blocks.length + 2)) + 3) + 150
    const transfers = this.blocks.length * this.members.length
    const talk = this.#network.open * (2000 + 30 * this.blocks.length) + transfers * proof
    assert.ok(sent <= uploaded * 1.02 + talk, `${sent} bytes were sent for ${uploaded} of blocks`)
    if (this.#failure !== null) throw this.#failure
  }

  async #check(): Promise<void> {
    for (const { feed, name, kind } of this.members) {
      const byteLength = this.blocks.slice(0, feed.length).reduce((sum, block) => sum + block.byteLength, 0)
      assert.equal(feed.byteLength, byteLength, `${name}: byteLength`)
      let held = 0
      for (let index = 0; index < feed.length; index++) {
        if (!feed.has(index)) continue
        held++
        const block = await feed.get(index, { wait: false })
        assert.deepEqual(Buffer.from(block as Uint8Array), this.blocks[index], `${name}: block ${index}`)
      }
      if (kind !== 'sparse' && held > 0) {
        const last = this.blocks.findLastIndex((_, i) =>
          this.members.some((one) => i < one.feed.length && one.feed.has(i))
        )
        assert.ok(feed.length > last, `${name}: length`)
      }
      assert.deepEqual({ ...(await feed.audit()) }, { valid: held, invalid: 0 }, `${name}: audit`)
    }
  }
}
