import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type ddatabase from '../../src/index.ts'
import type { ProtocolStream } from '../../src/index.ts'

/** A feed. */
export type Feed = ReturnType<typeof ddatabase>

/** Runs `task` with a folder of its own, on the disk of temporary files, that is removed at the end. */
export async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ddatabase-scale-'))
  try {
    await task(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Time, processor time and memory since it was made. */
export class Meter {
  readonly #start = performance.now()
  readonly #cpu = process.cpuUsage()
  readonly #memory = resident()

  /** Seconds. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000
  }

  /** A line: what was done, how long it took for each of `count`, and what memory was taken. */
  line(what: string, count: number): string {
    const { user, system } = process.cpuUsage(this.#cpu)
    const each = (microseconds: number): string => `${(microseconds / count / 1000).toFixed(3)} ms`
    const memory = resident() - this.#memory
    return (
      `${what}: ${this.seconds.toFixed(2)} s; each ${each(this.seconds * 1e6)}, CPU ${each(user + system)}; ` +
      `memory +${(memory / 1e6).toFixed(1)} MB, each ${(memory / count / 1000).toFixed(1)} KB`
    )
  }
}

function resident(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage.rss()
}

/** Serves whatever `open` gives for each connection on a port of the loopback interface. */
export async function serve(open: () => ProtocolStream): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => joinSocket(open(), socket))
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve())
  })
  return { port: (server.address() as AddressInfo).port, server }
}

/** Connects a stream to such a port. */
export function dial(port: number, stream: ProtocolStream): Socket {
  const socket = connect(port, '127.0.0.1')
  joinSocket(stream, socket)
  return socket
}

function joinSocket(stream: ProtocolStream, socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => stream.destroy())
  stream.on('error', () => socket.destroy())
  stream.pipe(socket as never)
  socket.pipe(stream as never)
}

/** The value below which a share `q` of them lies. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
}

/** Resolves when `condition` holds; looks again in each turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}
