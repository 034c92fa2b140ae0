/** Agents in processes of their own, and proxies that break connections. */
import { type ChildProcess, fork } from 'node:child_process'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { AgentCommands } from './replication-agent.ts'
import type { SeededRandom } from './seeded-random.ts'
import { within } from './watchdog.ts'

const CHILD = fileURLToPath(new URL('./replication-child.ts', import.meta.url))

/** An agent that lives in another process. */
export type RemoteAgent = AgentCommands & {
  /** Ends the process, as a crash would. */
  kill(): Promise<void>
  readonly pid: number
}

interface Answer {
  id: number
  value?: unknown
  error?: { message: string; code?: string }
  ready?: true
}

/** Starts a process with an agent in it. */
export async function startAgent(): Promise<RemoteAgent> {
  const child: ChildProcess = fork(CHILD, [], { execArgv: ['--import', 'tsx'], serialization: 'advanced' })
  const waiting = new Map<number, (answer: Answer) => void>()
  let next = 0
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    child.on('message', (answer: Answer) => {
      if (answer.ready) resolve()
      else waiting.get(answer.id)?.(answer)
    })
    child.once('exit', (code) => {
      reject(new Error(`the process ended with ${code}`))
      for (const answer of waiting.values())
        answer({ id: 0, error: { message: `the process ended with ${code}` } })
    })
  })
  await within(ready, 'the start of a process')
  const send = (command: string, args: unknown[]) =>
    new Promise((resolve, reject) => {
      const id = next++
      waiting.set(id, ({ value, error }) => {
        waiting.delete(id)
        if (error) reject(Object.assign(new Error(error.message), { code: error.code }))
        else resolve(value)
      })
      child.send({ id, command, args })
    })
  const own = {
    pid: child.pid!,
    kill: async () => {
      child.kill('SIGKILL')
      await gone
    }
  }
  return new Proxy(own, {
    get: (target, name) => {
      if (name in target) return target[name as keyof typeof own]
      // An agent is no promise.
      if (name === 'then') return undefined
      return (...args: unknown[]) => send(String(name), args)
    }
  }) as unknown as RemoteAgent
}

/** Passes connections on to a port, in pieces, and breaks each after a random number of bytes. */
export class CuttingProxy {
  /** Connections that were broken off. */
  cuts = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  /**
   * @param target - port of the real server
   * @param random - decides where connections break
   * @param largest - bytes that pass at most, in both directions together; it grows a little with each connection
   */
  static async start(
    target: number,
    random: SeededRandom,
    largest: number
  ): Promise<[proxy: CuttingProxy, port: number]> {
    const server = createServer((socket) => proxy.#pass(socket, target, random, largest))
    const proxy = new CuttingProxy(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return [proxy, (server.address() as AddressInfo).port]
  }

  /** Breaks everything off. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #pass(socket: Socket, target: number, random: SeededRandom, largest: number): void {
    const other = connect(target, '127.0.0.1')
    let budget = random.between(1, Math.floor(largest * (1 + this.cuts / 10)))
    const both = [socket, other]
    const stop = () => {
      for (const one of both) one.destroy()
    }
    for (const [from, to] of [
      [socket, other],
      [other, socket]
    ] as const) {
      this.#sockets.add(from)
      from.on('error', stop)
      from.on('close', () => {
        this.#sockets.delete(from)
        stop()
      })
      from.on('data', (chunk: Buffer) => {
        const piece = chunk.subarray(0, Math.max(0, budget))
        budget -= piece.byteLength
        if (piece.byteLength === chunk.byteLength) {
          to.write(piece)
          return
        }
        this.cuts++
        // What was let through must arrive before the connection breaks.
        to.write(piece, stop)
      })
    }
  }
}
