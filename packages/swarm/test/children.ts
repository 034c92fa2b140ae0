/** Peers in processes of their own. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import ddatabase from 'ddatabase'
import { build } from 'esbuild'
import type { Test } from 'tape'
import { within } from '../../../test/helpers/watchdog.ts'
import type { ChildCommand, ChildMessage, ChildSettings } from './child.ts'
import type { Bootstrap } from './helpers.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** A place for peers: a folder that is removed, and their program, bundled so that twenty of them start in no time. */
export class Peers {
  readonly folder: string
  readonly #program: string
  readonly #bootstrap: Bootstrap
  readonly #all = new Set<PeerProcess>()

  private constructor(folder: string, bootstrap: Bootstrap) {
    this.folder = folder
    this.#program = path.join(folder, 'child.mjs')
    this.#bootstrap = bootstrap
  }

  /** Everything is killed and removed at the end of the test. */
  static async prepare(t: Test, bootstrap: Bootstrap): Promise<Peers> {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-swarm-'))
    const peers = new Peers(folder, bootstrap)
    t.teardown(async () => {
      await Promise.all([...peers.#all].map((peer) => peer.kill()))
      await rm(folder, { recursive: true, force: true })
    })
    await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'), 'junction')
    await build({
      entryPoints: [fileURLToPath(new URL('./child.ts', import.meta.url))],
      outfile: peers.#program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      // All in one file, but for what finds its native code beside itself: to load a hundred files takes twice as long.
      external: ['fd-lock', 'fs-native-extensions', 'sodium-native', 'udx-native'],
      banner: {
        js: "import { createRequire as requiring } from 'node:module'; const require = requiring(import.meta.url)"
      },
      alias: {
        ddatabase: path.join(ROOT, 'src/index.ts'),
        'ddatabase-swarm': path.join(ROOT, 'packages/swarm/src/index.ts')
      },
      logLevel: 'error'
    })
    return peers
  }

  /** Starts a peer; one of the same name goes on with the folder of the one before. */
  async start(name: string, key: string | null, blocks = 0): Promise<PeerProcess> {
    const settings = { folder: path.join(this.folder, name), bootstrap: this.#bootstrap, key, blocks }
    const peer = new PeerProcess(name, this.#program, settings)
    this.#all.add(peer)
    await peer.open
    return peer
  }
}

/** A peer that is running, or was killed. */
export class PeerProcess {
  readonly name: string
  /** Resolves with the key of its feed. */
  readonly open: Promise<string>
  length = 0
  whole = false
  peers = 0
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #gone: Promise<unknown>
  readonly #waiting = new Set<() => void>()

  constructor(name: string, program: string, settings: ChildSettings) {
    this.name = name
    this.#folder = settings.folder
    this.#child = fork(program, [JSON.stringify(settings)], { execArgv: [] })
    this.#gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.open = within(
      new Promise<string>((resolve, reject) => {
        this.#child.on('message', (message: ChildMessage) => {
          if (message.type === 'open') resolve(message.key)
          else {
            Object.assign(this, message)
            for (const look of [...this.#waiting]) look()
          }
        })
        this.#child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)))
      }),
      `the start of ${name}`,
      120_000
    )
  }

  /** Resolves when the peer has every block of a feed that is as long. */
  has(length: number): Promise<void> {
    const there = new Promise<void>((resolve) => {
      const look = (): void => {
        if (!this.whole || this.length < length) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
    return within(there, `${this.name} with ${length} blocks`, 180_000)
  }

  /** Has the author append blocks. */
  append(blocks: number): void {
    this.#command({ type: 'append', blocks })
  }

  /** Ends the process, as a crash would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#gone
  }

  /** Lets it leave in good order; answers its exit code. */
  async leave(): Promise<unknown> {
    this.#command({ type: 'leave' })
    return within(this.#gone, `the end of ${this.name}`, 60_000)
  }

  #command(command: ChildCommand): void {
    this.#child.send(command)
  }

  /** Reads the copy that it has left behind: its number of valid blocks, all of which are what the author wrote. */
  async check(key: string): Promise<number> {
    const feed = ddatabase<string>(this.#folder, key, { valueEncoding: 'utf-8' })
    try {
      const { invalid } = await feed.audit()
      let right = 0
      for (let i = 0; i < feed.length; i++) {
        if ((await feed.get(i, { wait: false })) === `block ${i}`) right++
      }
      return invalid === 0 ? right : -1
    } finally {
      await feed.close()
    }
  }
}
