import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { DDatabaseError, type Feed } from 'ddatabase'
import { type JoinedFeed, Swarm, type SwarmOptions } from 'ddatabase-swarm'
import type { Argv } from 'yargs'
import type { CommonArguments, Context } from './context.ts'
import { Failure } from './exit.ts'
import { explain } from './explain.ts'
import { interruption, unlessAborted } from './interrupt.ts'

/** Arguments about the swarm. */
export interface SwarmArguments extends CommonArguments {
  swarm: boolean
  bootstrap: string[] | undefined
  host: string | undefined
}

/** Arguments of the commands that need peers. */
export interface NetworkArguments extends SwarmArguments {
  connect: string[] | undefined
  timeout: string
}

/** Adds the options about how peers are found. */
export function networkOptions<A extends CommonArguments>(parser: Argv<A>) {
  return swarmOptions(parser)
    .option('connect', {
      type: 'string',
      array: true,
      nargs: 1,
      describe: 'Address of a peer: host:port or ws://host:port; may be given again'
    })
    .option('timeout', {
      type: 'string',
      requiresArg: true,
      default: '30',
      describe: 'Seconds without any peer, or any block, after which to give up'
    })
}

/** Adds the options about the swarm. */
export function swarmOptions<A extends CommonArguments>(parser: Argv<A>) {
  return parser
    .option('swarm', {
      type: 'boolean',
      default: true,
      describe: 'Find peers by the key alone; --no-swarm: by address only'
    })
    .option('bootstrap', {
      type: 'string',
      array: true,
      nargs: 1,
      describe: 'Node of a private swarm, host:port; may be given again'
    })
    .option('host', {
      type: 'string',
      requiresArg: true,
      describe: 'Address of this machine to use [default: all]'
    })
}

// After so many connections that brought nothing it is not worth trying any more.
const MOST_BROKEN = 5

const STORAGE_CODES: ReadonlySet<string> = new Set(['ERR_STORAGE', 'ERR_WRITE_REFUSED'])

/** A clause that tells what is left and what the next run does. */
export type Remedy = () => string

// How often it is looked whether anything has happened, in milliseconds.
const LOOK = 100

/** A feed and those who have it too. */
export class Network {
  readonly swarm: Swarm
  readonly feed: Feed
  readonly #context: Context
  readonly #timeout: number
  readonly #addresses: readonly string[]
  readonly #usesSwarm: boolean
  readonly #gone = new AbortController()
  // Peers of addresses that do not have the feed.
  #refused = 0
  #failed = 0
  #error: Failure | null = null
  // Aborted when what comes cannot be stored, with the reason; that is told by who knows where the feed is.
  readonly #full = new AbortController()
  // Connections that broke since the last block, and why the last one did.
  #broken = 0
  #reason: Error | null = null
  #last = performance.now()
  // A peer that has come since the last block, or the last thing asked for, had its time.
  #hadTime = false
  #timer: NodeJS.Timeout | null = null
  readonly #waiting = new Set<{ reject(error: Error): void; remedy: Remedy }>()
  #joined: JoinedFeed | null = null

  private constructor(feed: Feed, args: NetworkArguments, context: Context) {
    this.feed = feed
    this.#context = context
    this.#timeout = 1000 * parseSeconds(args.timeout, '--timeout')
    this.#addresses = args.connect ?? []
    this.#usesSwarm = args.swarm
    if (!args.swarm && this.#addresses.length === 0) {
      throw new Failure('usage', 'With --no-swarm there has to be an address: add --connect host:port.')
    }
    this.swarm = new Swarm(toSwarmOptions(args))
  }

  /**
   * Looks for peers of a feed, as the arguments say. Fails with exit code 2 for arguments that make no sense, and with 5 for a `--host`
   * that is none of this machine.
   */
  static async join(feed: Feed, args: NetworkArguments, context: Context): Promise<Network> {
    const network = new Network(feed, args, context)
    if (args.host !== undefined) await checkHost(args.host)
    network.#start()
    return network
  }

  /** Connected peers that have the feed. */
  get peers(): number {
    return this.#joined?.peers ?? 0
  }

  /** Does something that needs peers and closes the network, whatever happens. */
  async during<T>(work: (network: Network) => Promise<T>): Promise<T> {
    try {
      return await work(this)
    } finally {
      this.#gone.abort()
      if (this.#timer !== null) clearInterval(this.#timer)
      this.#context.signal.removeEventListener('abort', this.#look)
      // Those who are told nothing find out by themselves.
      await (this.#context.signal.aborted ? this.swarm.destroy() : this.swarm.close())
    }
  }

  /**
   * Waits for something that peers have to do. Fails with exit code 5 if no peer is there, or nothing comes of those that
   * are, for so long as `--timeout` says; and when Ctrl-C is pressed.
   */
  patiently<T>(work: Promise<T>, remedy: Remedy): Promise<T> {
    this.#touch()
    return this.#goOnWaiting(work, remedy)
  }

  // Without more time than is left.
  #goOnWaiting<T>(work: Promise<T>, remedy: Remedy): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting = { reject, remedy }
      const over = (): void => void this.#waiting.delete(waiting)
      this.#waiting.add(waiting)
      work.finally(over).then(resolve, reject)
      // One timer for all who wait: there may be one for each block.
      this.#timer ??= setInterval(this.#look, LOOK)
      if (this.#context.signal.aborted) this.#look()
    })
  }

  /** Waits for something that may take for ever. Fails when what comes cannot be stored any more. */
  withoutEnd<T>(work: Promise<T>): Promise<T> {
    return unlessAborted(work, this.#full.signal)
  }

  readonly #look = (): void => {
    for (const waiting of [...this.#waiting]) {
      const failure = this.#verdict(waiting.remedy)
      if (failure === null) continue
      this.#waiting.delete(waiting)
      waiting.reject(failure)
    }
  }

  #verdict(remedy: Remedy): Error | null {
    const { signal } = this.#context
    if (signal.aborted) return interruption(signal, remedy())
    if (this.#full.signal.aborted) return this.#full.signal.reason
    if (this.#hopeless()) return this.#noPeer(remedy)
    if (this.#broken >= MOST_BROKEN) return this.#onlyBreaks(remedy)
    return performance.now() - this.#last > this.#timeout ? this.#nothingComes(remedy) : null
  }

  /** Waits until a peer that has the feed is connected. */
  async firstPeer(remedy: Remedy): Promise<void> {
    this.#touch()
    await this.#nextPeer(remedy)
  }

  async #nextPeer(remedy: Remedy): Promise<void> {
    if (this.peers > 0) return
    const found = new Promise<void>((resolve) => this.feed.once('peer-open', () => resolve()))
    await this.#goOnWaiting(found, remedy)
  }

  /** Learns how long the feed is, from the peers that are connected. */
  async learnLength(remedy: Remedy): Promise<void> {
    await this.firstPeer(remedy)
    for (let length = -1; length < this.feed.length; ) {
      length = this.feed.length
      try {
        // Also the author's own copy may lack what others have.
        await this.#goOnWaiting(this.feed.update({ ifAvailable: true, force: true }), remedy)
      } catch (error) {
        if (!DDatabaseError.is(error) || error.code !== 'ERR_UPDATE_NOT_AVAILABLE') throw error
        if (this.peers > 0) continue
        // The peer has gone before it could tell: that says nothing about the feed.
        await this.#nextPeer(remedy)
        length = -1
      }
    }
  }

  #start(): void {
    const { swarm, feed } = this
    const { out } = this.#context
    const touch = (): void => this.#touch()
    feed.on('download', () => {
      this.#broken = 0
    })
    this.#context.signal.addEventListener('abort', this.#look)
    feed.on('download', touch)
    feed.on('peer-open', () => {
      // The next one gets none: peers may come and go for ever.
      if (!this.#hadTime) this.#last = performance.now()
      this.#hadTime = true
    })
    feed.on('append', touch)
    swarm.on('refused', (_joined, { address }) => {
      if (address !== null && this.#addresses.length > 0) this.#refused++
    })
    swarm.on('feed-failed', (_joined, error) => {
      this.#error = explain(error)
    })
    // What cannot be stored ends the connection that it came on; no other one would be of any use.
    swarm.on('disconnection', (_connection, reason) => {
      if (DDatabaseError.is(reason) && STORAGE_CODES.has(reason.code)) this.#full.abort(reason)
      if (reason === null) return
      this.#broken++
      this.#reason = reason
    })
    this.#joined = swarm.join(feed)
    for (const address of this.#addresses) {
      swarm.connect(address, { reconnect: 'lost', signal: this.#gone.signal }).catch((error: unknown) => {
        if (this.#gone.signal.aborted) return
        this.#failed++
        this.#error ??= explain(error, address)
        // Where there are other ways to a peer this is not the end; and whoever waits is told of the end.
        if (this.#waiting.size === 0 || !this.#hopeless()) out.warn(explain(error, address).message)
      })
    }
  }

  #touch(): void {
    this.#last = performance.now()
    this.#hadTime = false
  }

  /** Nobody is left who could have the feed. */
  #hopeless(): boolean {
    if (this.#error?.kind === 'usage') return true
    return !this.#usesSwarm && this.peers === 0 && this.#refused + this.#failed >= this.#addresses.length
  }

  #noPeer(remedy: Remedy): Failure {
    if (this.#error !== null && this.#refused === 0) {
      const { kind, message, cause } = this.#error
      return new Failure(kind, kind === 'usage' ? message : withRemedy(message, remedy), cause)
    }
    return new Failure(
      'network',
      `Who answers at ${this.#addresses.join(', ')} does not have this feed; check the key.`
    )
  }

  #onlyBreaks(remedy: Remedy): Failure {
    const { message } = this.#reason!
    const sentence = `The connections to peers break again and again (${message}).`
    return new Failure('network', withRemedy(sentence, remedy), this.#reason)
  }

  #nothingComes(remedy: Remedy): Failure {
    const seconds = this.#timeout / 1000
    if (this.peers > 0) {
      const who = this.peers === 1 ? 'The connected peer does' : `The ${this.peers} connected peers do`
      return new Failure(
        'network',
        withRemedy(`${who} not have the rest, or did not send it for ${seconds} s.`, remedy)
      )
    }
    const sentence = `No peer with this feed was found in ${seconds} s; check the key, and that somebody shares it.`
    return new Failure('network', withRemedy(sentence, remedy))
  }
}

// The swarm would go on without, and find nobody.
async function checkHost(host: string): Promise<void> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  try {
    await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(0, host, resolve))
  } catch (error) {
    const sentence = `The address ${host} cannot be used: ${(error as Error).message}; choose another one with --host.`
    throw new Failure('network', sentence, error)
  } finally {
    socket.close()
  }
}

function withRemedy(sentence: string, remedy: Remedy): string {
  return `${sentence.replace(/\.$/, '')}; ${remedy()}.`
}

/** The options of a swarm, of the arguments. */
export function toSwarmOptions(args: SwarmArguments): SwarmOptions {
  const { swarm, bootstrap, host } = args
  for (const node of bootstrap ?? []) {
    if (!/^\S+:\d{1,5}$/.test(node))
      throw new Failure('usage', `"${node}" is no node of a swarm; write host:port.`)
  }
  return { dht: swarm, host, ...(bootstrap === undefined ? {} : { bootstrap }) }
}

/** A time in seconds, more than 0. Fails with exit code 2 for anything else. */
export function parseSeconds(text: string, what: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds > 0 && seconds <= 1e6)) {
    throw new Failure('usage', `${what} should be a number of seconds, not "${text}".`)
  }
  return seconds
}

/** A port, 0 for any. Fails with exit code 2 for anything else. */
export function parsePort(text: string, what: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65535)) throw new Failure('usage', `${what} should be a port from 0 to 65535, not "${text}".`)
  return port
}
