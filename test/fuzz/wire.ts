/**
 * A hostile remote on a live feed, beside an honest one; and hostile bytes instead of a handshake.
 *
 * What must hold: nothing but a coded error ends the hostile stream; nothing is thrown past it; the honest one lives and serves;
 * every call settles; all that was stored is true, and seeks tell the truth.
 */
import RAM from 'random-access-memory'
import { DDatabaseError } from '../../src/errors.ts'
import ddatabase from '../../src/index.ts'
import { NoiseHandshake } from '../../src/replication/noise.ts'
import { ProtocolStream } from '../../src/replication/stream.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'
import { guarded, type Outcome } from './outcome.ts'
import { MessageMaker, mutate, type ProofNode, type Sources } from './wire-messages.ts'

type Feed = ReturnType<typeof ddatabase>

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const

const memory = () => new RAM({ pageSize: 4096 })
const turn = () => new Promise((resolve) => setImmediate(resolve))

async function open(key: Uint8Array | null, options: object = {}): Promise<Feed> {
  const feed = ddatabase(memory as never, key, options)
  await feed.ready()
  return feed
}

/** Runs one seed. */
export function fuzzWire(seed: number): Promise<Outcome> {
  return guarded(seed, (problems) => new Run(seed, problems).go())
}

class Run {
  readonly #random: SeededRandom
  readonly #problems: string[]
  readonly #calls: Promise<unknown>[] = []
  #blocks: Buffer[] = []

  constructor(seed: number, problems: string[]) {
    this.#random = new SeededRandom(seed)
    this.#problems = problems
  }

  async go(): Promise<string> {
    const random = this.#random
    this.#blocks = Array.from({ length: random.between(1, 40) }, (_, i) =>
      Buffer.from(`${i} `.repeat(random.below(8)))
    )
    const writer = await open(null)
    await writer.append(this.#blocks)
    const sparse = random.chance(0.7)
    const replica = await open(writer.key, { sparse, allowPush: random.chance(0.1) })
    const [a, b] = [writer.replicate(true, { live: true }), replica.replicate(false, { live: true })]
    for (const stream of [a, b])
      stream.on('error', (error) => this.#problems.push(`honest stream: ${error.stack}`))
    a.pipe(b).pipe(a)

    const victim = random.chance(0.75) ? replica : writer
    const code = random.chance(0.2)
      ? await this.#handshake(victim)
      : await this.#session(victim, await this.#sources(writer))

    if (a.destroying || b.destroying) this.#problems.push('the honest connection has ended')
    await this.#check(writer, replica)
    a.destroy()
    b.destroy()
    await within(Promise.all([writer.close(), replica.close()]), 'close')
    await within(Promise.allSettled(this.#calls), 'one of the calls')
    return code
  }

  async #sources(writer: Feed): Promise<Sources> {
    const proofs = new Map<string, { nodes: ProofNode[]; signature: Uint8Array | null }>()
    for (let index = 0; index < this.#blocks.length; index++) {
      for (const hash of [false, true]) proofs.set(`${index} ${hash}`, await writer.proof(index, { hash }))
    }
    return {
      discoveryKey: writer.discoveryKey!,
      length: this.#blocks.length,
      block: (index) => this.#blocks[index]!,
      proof: (index, hash) => proofs.get(`${index} ${hash}`)!
    }
  }

  /** A session without a cipher, so that every byte can be chosen. */
  async #session(victim: Feed, sources: Sources): Promise<string> {
    const random = this.#random
    const limits = random.chance(0.3)
      ? { remotePages: 20, queuedOutput: 5000, queuedRequests: 20, wants: 20 }
      : {}
    const stream = victim.replicate(false, {
      ...PLAIN,
      timeout: random.chance(0.2) ? 30 : 0,
      limits,
      ack: random.chance(0.2)
    } as never)
    const ended = this.#watch(stream)
    if (random.chance(0.7)) stream.on('data', () => {})
    const maker = new MessageMaker(random, sources)
    const frames = [maker.open()]
    if (random.chance(0.6)) frames.push(maker.announcement())
    for (let left = random.between(5, 80); left > 0; left--) frames.push(maker.next())
    for (const frame of frames) {
      if (stream.destroying) break
      if (random.chance(0.15)) this.#act(victim)
      await this.#write(stream, frame)
      if (random.chance(0.3)) await turn()
    }
    if (random.chance(0.3))
      for (let left = random.below(300); left > 0; left--) await this.#write(stream, maker.next())
    for (let left = 5; left > 0; left--) await turn()
    const { queuedOutput } = stream as ProtocolStream
    if (queuedOutput > stream.limits.queuedOutput + 1_000_000)
      this.#problems.push(`${queuedOutput} bytes wait`)
    return this.#over(stream, ended)
  }

  /** Handshakes that are almost ones. */
  async #handshake(victim: Feed): Promise<string> {
    const random = this.#random
    const initiator = random.chance(0.5)
    const stream = victim.replicate(initiator, {
      live: true,
      timeout: 0,
      limits: { handshakeTime: 1000 }
    } as never)
    const ended = this.#watch(stream)
    const noise = new NoiseHandshake(!initiator, ProtocolStream.keyPair())
    const change = (bytes: Buffer) => (random.chance(0.5) ? mutate(bytes, random) : bytes)
    const payload = () => {
      const nonce = Buffer.concat([Buffer.of(0x0a, 24), random.bytes(24)])
      const transport = random.chance(0.5) ? Buffer.of(0x58, random.below(4)) : Buffer.alloc(0)
      return change(Buffer.concat(random.shuffle([nonce, transport])))
    }
    const framed = (bytes: Uint8Array) => {
      const size = bytes.byteLength
      const head = size < 128 ? Buffer.of(size) : Buffer.of((size % 128) + 128, size >> 7)
      return change(Buffer.concat([head, bytes]))
    }
    stream.on('data', (chunk) => {
      try {
        // Good as long as each message is one chunk, and if not: garbage is welcome here.
        noise.recv((chunk as Uint8Array).subarray((chunk as Uint8Array)[0]! < 128 ? 1 : 2))
        if (noise.result === null) void this.#write(stream, framed(noise.send(payload())))
      } catch {
        // It is over.
      }
    })
    if (!initiator) await this.#write(stream, framed(noise.send(payload())))
    for (let left = random.between(5, 10); left > 0; left--) await turn()
    for (let left = random.below(4); left > 0; left--)
      await this.#write(stream, random.bytes(random.below(100)))
    return this.#over(stream, ended)
  }

  #watch(stream: ProtocolStream): Promise<Error | null> {
    return new Promise((resolve) => {
      let problem: Error | null = null
      stream.on('error', (error) => {
        problem = error
      })
      stream.on('close', () => resolve(problem))
    })
  }

  async #over(stream: ProtocolStream, ended: Promise<Error | null>): Promise<string> {
    const lives = !stream.destroying
    stream.destroy()
    const error = await within(ended, 'the end of the stream')
    if (error === null) return lives ? 'lives' : 'ended'
    const code = DDatabaseError.is(error) ? error.code : 'none'
    if (code === 'none' || code === 'ERR_STREAM_HANDLER') {
      this.#problems.push(`not a coded error: ${error.stack} ${(error.cause as Error)?.stack ?? ''}`)
    }
    return code
  }

  async #write(stream: ProtocolStream, bytes: Buffer): Promise<void> {
    const random = this.#random
    for (let offset = 0; offset < bytes.length && !stream.destroying; ) {
      const size = random.chance(0.9) ? bytes.length : random.between(1, 40)
      stream.write(Buffer.from(bytes.subarray(offset, offset + size)))
      offset += size
      if (random.chance(0.05)) await turn()
    }
  }

  /** What an application does meanwhile. */
  #act(feed: Feed): void {
    const random = this.#random
    const index = random.below(this.#blocks.length + 2)
    const options = random.pick([{}, { ifAvailable: true }, { timeout: 20 }, { wait: false }])
    const call = random.pick<() => unknown>([
      () => feed.get(index, options),
      () => feed.get(index, options),
      () => feed.seek(random.below(feed.byteLength + 20), options),
      () => feed.update(options),
      () => feed.download({ start: index, end: index + random.below(10) }),
      () => feed.download({ start: 0, end: -1, hash: random.chance(0.3) }),
      () => feed.cancel(index, index + 5),
      () => feed.clear(random.below(this.#blocks.length)),
      () => {
        feed.setDownloading(random.chance(0.8))
        feed.setUploading(random.chance(0.9))
      }
    ])
    // Writers keep their blocks, so that the honest side has something to serve.
    if (feed.writable && call.toString().includes('clear')) return
    const answer = Promise.resolve(call() as PromiseLike<unknown> | undefined)
    answer.catch(() => {})
    this.#calls.push(answer)
  }

  /** The honest peer serves, and everything that is here is true. */
  async #check(writer: Feed, replica: Feed): Promise<void> {
    const random = this.#random
    for (const feed of [writer, replica]) feed.setUploading(true)
    replica.setDownloading(true)
    const { length } = this.#blocks
    await within(replica.update({ minLength: length }), 'update')
    const wrong = (what: string) => this.#problems.push(what)
    if (replica.length !== length || replica.byteLength !== writer.byteLength)
      wrong(`length ${replica.length}`)
    for (let i = 0; i < 5; i++) {
      const bytes = random.below(writer.byteLength)
      const [place, expected] = await within(Promise.all([replica.seek(bytes), writer.seek(bytes)]), 'seek')
      if (place.index !== expected.index || place.offset !== expected.offset) {
        wrong(`seek(${bytes}) is ${JSON.stringify(place)} instead of ${JSON.stringify(expected)}`)
      }
    }
    for (const index of random.shuffle(this.#blocks.map((_, i) => i))) {
      const block = (await within(replica.get(index), `get(${index})`)) as unknown as Uint8Array
      if (!this.#blocks[index]!.equals(block)) wrong(`block ${index} is ${Buffer.from(block)}`)
    }
    const report = await within(replica.audit(), 'audit')
    if (report.valid !== length || report.invalid !== 0) wrong(`audit: ${JSON.stringify(report)}`)
  }
}
