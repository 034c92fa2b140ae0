import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Feed } from 'ddatabase'
import { type Listener, Swarm } from 'ddatabase-swarm'
import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import type { Context } from '../context.ts'
import { about } from '../explain.ts'
import { aborted } from '../interrupt.ts'
import { parsePort, type SwarmArguments, swarmOptions, toSwarmOptions } from '../network.ts'
import { openFeed, using } from '../open-feed.ts'
import { count, hex, size } from '../units.ts'

// How often a person gets to see what was given, in milliseconds.
const SHOW = 500

export const share = command({
  usage: 'share <dir>',
  describe: 'Let others have a feed, until Ctrl-C: over TCP, and to be found by the key alone',
  examples: [
    ['$0 share ./photos.feed', 'prints the line for those who want it'],
    ['$0 share ./photos.feed --port 4000 --no-swarm', 'over TCP only, on this port'],
    ['$0 share ./photos.feed --host 127.0.0.1 --no-swarm', 'on this machine only'],
    ['$0 share ./photos.feed --ws --ws-port 4001', 'WebSockets as well, for browsers']
  ],
  options: (parser) =>
    swarmOptions(feedFolder(parser))
      .option('port', {
        type: 'string',
        requiresArg: true,
        default: '0',
        describe: 'TCP port; 0: any that is free'
      })
      .option('ws', { type: 'boolean', default: false, describe: 'Take WebSockets, too' })
      .option('ws-port', {
        type: 'string',
        requiresArg: true,
        default: '0',
        describe: 'Port for them; 0: any that is free'
      }),
  async run(args, context) {
    const { dir } = args
    const port = parsePort(args.port, '--port')
    const wsPort = parsePort(args.wsPort, '--ws-port')
    const options = toSwarmOptions(args)
    await using(await openFeed(context.out, dir, { sparse: true }), dir, async (feed) => {
      const swarm = new Swarm(options)
      try {
        await about(`port ${port}`, () => swarm.listen({ port }))
        if (args.ws || wsPort > 0)
          await about(`port ${wsPort}`, () => swarm.listen({ port: wsPort, websocket: true }))
        await serve(feed, dir, swarm, args, context)
      } finally {
        await swarm.close()
      }
    })
  }
})

async function serve(
  feed: Feed,
  dir: string,
  swarm: Swarm,
  args: SwarmArguments,
  { out, signal }: Context
): Promise<void> {
  const key = hex(feed.key)
  const totals = feed.stats!.totals
  swarm.on('peer', (joined, _peer, { kind, address }) => {
    const data = { event: 'peer', kind, address, peers: joined.peers }
    out.event(`A peer has come${from(address)}: ${count(joined.peers, 'peer')} now.`, data).catch(() => {})
  })
  swarm.on('peer-remove', (joined, peer, { kind, address }) => {
    const { uploadedBlocks, uploadedBytes } = peer.stats!
    const data = { event: 'peer-remove', kind, address, peers: joined.peers, uploadedBlocks, uploadedBytes }
    const given = `${count(uploadedBlocks, 'block')}, ${size(uploadedBytes)}`
    out.event(`A peer has gone${from(address)}; it was given ${given}.`, data).catch(() => {})
  })
  swarm.on('searched', () => {
    out.event('Announced: others can find the feed by its key.', { event: 'announced' }).catch(() => {})
  })
  swarm.on('warning', (error) => out.note(`${error.message}.`))
  const present = feed.downloaded()
  const here = present === feed.length ? '' : `, of which ${present} are here`
  out.note(`Sharing ${dir} with ${count(feed.length, 'block')}${here}, until Ctrl-C.`)
  for (const { address } of swarm.listening) out.note(`Listening at ${address}.`)
  const lines = commandLines(key!, swarm.listening, args)
  if (out.json) {
    const listening = swarm.listening.map(({ address, host, port, websocket }) => ({
      address,
      host,
      port,
      websocket
    }))
    await out.result('', {
      event: 'sharing',
      dir,
      key,
      discoveryKey: hex(feed.discoveryKey),
      length: feed.length,
      listening
    })
  } else {
    out.note('For the other side:')
    for (const line of lines) await out.result(out.colors.bold(line), {})
  }
  const joined = swarm.join(feed, { client: false })
  await out.showing('sharing', async (progress) => {
    const show = (): void => progress.at({ done: totals.uploadedBytes, total: null, peers: joined.peers })
    const timer = out.person ? setInterval(show, SHOW) : null
    try {
      await out.whileRead(aborted(signal))
    } finally {
      if (timer !== null) clearInterval(timer)
    }
  })
  const { uploadedBlocks, uploadedBytes } = totals
  const given = `${count(uploadedBlocks, 'block')} given to others, ${size(uploadedBytes)}.`
  await out.event(given, { event: 'end', uploadedBlocks, uploadedBytes })
}

function from(address: string | null): string {
  return address === null ? '' : ` from ${address}`
}

/** What the other side has to type: by the swarm, or by an address. */
function commandLines(key: string, listening: readonly Listener[], args: SwarmArguments): string[] {
  const nodes = (args.bootstrap ?? []).map((node) => ` --bootstrap ${node}`).join('')
  const clone = `${called()} clone ${key} ./copy.feed`
  const lines = args.swarm ? [`${clone}${nodes}`] : []
  for (const { host, port, websocket } of listening) {
    const address = `${websocket ? 'ws://' : ''}${reachable(host)}:${port}`
    lines.push(`${clone} --connect ${address} --no-swarm`)
  }
  return lines
}

/** How this program was called: who runs it by npx has to type that, too. */
function called(): string {
  return process.env.npm_command === 'exec' ? 'npx ddatabase' : 'ddatabase'
}

/** An address of this machine that others can use, if it listens on all of them. */
function reachable(host: string): string {
  if (host !== '::' && host !== '0.0.0.0') return isIPv4(host) || !host.includes(':') ? host : `[${host}]`
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1'
}
