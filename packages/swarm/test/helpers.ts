/** Swarms, feeds and networks of tests. Everything is closed at the end of the test; nothing leaves loopback. */
import { type AddressInfo, createServer, type Server } from 'node:net'
import ddatabase, { type Feed, type FeedOptions } from 'ddatabase'
import createTestnet from 'hyperdht/testnet.js'
import RAM from 'random-access-memory'
import type { Test } from 'tape'
import { within } from '../../../test/helpers/watchdog.ts'
import { Swarm, type SwarmEvents, type SwarmOptions } from '../src/index.ts'

/** The only address that tests bind. */
export const LOOPBACK = '127.0.0.1'

/** Nodes by which a network is entered. */
export type Bootstrap = { host: string; port: number }[]

/** A swarm on loopback that is closed at the end of the test; without Hyperswarm unless `bootstrap` is given. */
export function makeSwarm(t: Test, options: SwarmOptions = {}): Swarm {
  const swarm = new Swarm({ dht: options.bootstrap !== undefined, host: LOOPBACK, ...options })
  adopt(t, swarm)
  return swarm
}

/** Has swarms closed at the end of the test, before the network that they are on. */
export function adopt(t: Test, ...swarms: Swarm[]): void {
  swarmsOf.set(t, [...(swarmsOf.get(t) ?? []), ...swarms])
  for (const swarm of swarms) t.teardown(() => swarm.close())
}

// Swarms have to leave a network before it goes.
const swarmsOf = new WeakMap<Test, Swarm[]>()

/** A network of nodes on loopback. */
export async function makeNetwork(t: Test, size = 10, port = 0): Promise<Bootstrap> {
  const network = await createTestnet(size, { host: LOOPBACK, port })
  t.teardown(async () => {
    await Promise.all((swarmsOf.get(t) ?? []).map((swarm) => swarm.close()))
    await network.destroy()
  })
  return network.bootstrap
}

// The usual pages of a megabyte, six for each feed, take most of the time of a test with many feeds.
const smallMemory = () => new RAM({ pageSize: 4096 })

/** A feed in memory with some blocks. */
export async function makeFeed(t: Test, blocks: string[] = ['zero', 'one', 'two']): Promise<Feed<string>> {
  const feed: Feed<string> = ddatabase<string>(smallMemory, { valueEncoding: 'utf-8' })
  t.teardown(() => feed.close())
  if (blocks.length > 0) await feed.append(blocks)
  else await feed.ready()
  return feed
}

/** An empty copy of a feed, in memory. */
export function copyOf(
  t: Test,
  feed: { key: Uint8Array | null },
  options: FeedOptions<string> = {}
): Feed<string> {
  const copy: Feed<string> = ddatabase<string>(smallMemory, feed.key, { valueEncoding: 'utf-8', ...options })
  t.teardown(() => copy.close())
  return copy
}

/** The values of the next event for which `which` holds. */
export function next<Name extends keyof SwarmEvents>(
  swarm: Swarm,
  event: Name,
  which: (...values: SwarmEvents[Name]) => boolean = () => true
): Promise<SwarmEvents[Name]> {
  const emitter = swarm as unknown as NodeJS.EventEmitter
  const found = new Promise<SwarmEvents[Name]>((resolve) => {
    const listener = (...values: unknown[]): void => {
      if (!which(...(values as SwarmEvents[Name]))) return
      emitter.off(event, listener)
      resolve(values as SwarmEvents[Name])
    }
    emitter.on(event, listener)
  })
  return within(found, `the event ${event}`, 60_000)
}

/** Resolves when `holds`; looks again and again. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  let over = false
  const looking = (async () => {
    while (!over && !holds()) await new Promise((resolve) => setTimeout(resolve, 20))
  })()
  await within(looking, what, 60_000).finally(() => {
    over = true
  })
}

/** A TCP server that does with connections what it is told to. */
export async function makeServer(
  t: Test,
  onconnection: Parameters<typeof createServer>[1] = () => {}
): Promise<string> {
  const sockets = new Set<{ destroy(): unknown }>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onconnection?.(socket)
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  return `${LOOPBACK}:${(server.address() as AddressInfo).port}`
}

/** An address on which nothing listens. */
export async function deafAddress(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return `${LOOPBACK}:${port}`
}
