/** Scenarios between an agent of this process with our feeds and one of another process with published ones. */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import test, { type Test } from 'tape'
import { Agent, type AgentCommands } from './replication-agent.ts'
import { type RemoteAgent, startAgent } from './replication-processes.ts'

/** A feed somewhere. */
export class Place {
  readonly agent: AgentCommands
  readonly subject: string
  readonly id: string
  readonly folder: string
  key: Buffer = Buffer.alloc(0)

  constructor(agent: AgentCommands, subject: string, id: string, folder: string) {
    this.agent = agent
    this.subject = subject
    this.id = id
    this.folder = folder
  }

  async open(key: Uint8Array | null = null, options: object = {}): Promise<this> {
    this.key = Buffer.from(await this.agent.open(this.id, this.subject, this.folder, key, options))
    return this
  }

  append(values: unknown): Promise<unknown> {
    return this.agent.call(this.id, 'append', values)
  }

  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.agent.call(this.id, method, ...args)
  }

  info() {
    return this.agent.info(this.id)
  }

  reach(length: number, blocks = length): Promise<void> {
    return this.agent.reach(this.id, length, blocks)
  }

  close(): Promise<void> {
    return this.agent.close(this.id)
  }

  /** All blocks that are here, by index. */
  async content(): Promise<Record<number, string>> {
    const out: Record<number, string> = {}
    const { length } = await this.info()
    for (let i = 0; i < length; i++) {
      const block = await this.call('get', i, { wait: false }).catch(() => null)
      if (block !== null) out[i] = Buffer.from(block as Uint8Array).toString('base64')
    }
    return out
  }
}

let lines = 0

/** A TCP connection between two places (or lists of them), the second of which dials. */
export class Link {
  readonly name = `line ${lines++}`
  readonly #server: AgentCommands
  readonly #client: AgentCommands

  private constructor(server: AgentCommands, client: AgentCommands) {
    this.#server = server
    this.#client = client
  }

  /** @param dialerInitiates - who sends the first handshake message */
  static async between(
    server: readonly Place[],
    client: readonly Place[],
    dialerInitiates: boolean,
    options: object = {},
    optionsOfClient = options
  ): Promise<Link> {
    const link = new Link(server[0]!.agent, client[0]!.agent)
    const ids = (places: readonly Place[]) => places.map(({ id }) => id)
    const port = await link.#server.listen(`${link.name} server`, ids(server), !dialerInitiates, options)
    await link.#client.dial(`${link.name} client`, ids(client), port, dialerInitiates, optionsOfClient)
    return link
  }

  /** Waits for the end; null if both sides ended well. */
  async ended(): Promise<string | null> {
    const ends = [
      ...(await this.#server.ended(`${this.name} server`)),
      ...(await this.#client.ended(`${this.name} client`))
    ]
    return ends.find(({ message }) => message !== null)?.message ?? null
  }

  async cut(): Promise<void> {
    await this.#client.hangUp(`${this.name} client`)
    await this.ended()
  }

  acksOfServer(count: number): Promise<number[]> {
    return this.#server.acks(`${this.name} server`, count)
  }
}

/** What a scenario works with: a place of ours and a published one, in either order. */
export interface Scene {
  readonly t: Test
  /** A new place on this side; `a` is where the writer usually is. */
  a(): Place
  b(): Place
  readonly dialerInitiates: boolean
  /** Checks that both have the same blocks, that audits are clean, and that the other package can open each folder. */
  same(...places: readonly Place[]): Promise<void>
}

const PAIRS = [
  { dialect: 'ddatabase', ours: 'ours', published: 'published ddatabase' },
  { dialect: 'hypercore', ours: 'ours (hypercore)', published: 'published hypercore' }
] as const

/** Runs scenarios in every combination of dialect, direction and role, with one process for the published side. */
export function interop(scenarios: Record<string, (scene: Scene) => Promise<void>>): void {
  let remote: RemoteAgent
  let local: Agent
  let folder: string
  let places = 0

  test('interop: start', async (t) => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-interop-'))
    remote = await startAgent()
    local = new Agent()
    t.notEqual(remote.pid, process.pid)
  })

  for (const [name, scenario] of Object.entries(scenarios)) {
    for (const { dialect, ours, published } of PAIRS) {
      for (const oursFirst of [true, false]) {
        // The second place dials, so both roles come up in each dialect.
        const dialerInitiates = dialect === 'ddatabase'
        const title = `${name} (${oursFirst ? `ours to ${published}` : `${published} to ours`})`
        test(`interop: ${title}`, async (t) => {
          const place = (mine: boolean) => {
            const id = `feed ${places++}`
            return new Place(mine ? local : remote, mine ? ours : published, id, path.join(folder, id))
          }
          const opened: Place[] = []
          const make = (mine: boolean) => {
            const one = place(mine)
            opened.push(one)
            return one
          }
          await scenario({
            t,
            a: () => make(oursFirst),
            b: () => make(!oursFirst),
            dialerInitiates,
            same: async (...checked) => {
              await sameContent(t, checked)
              for (const one of checked)
                await openedByTheOther(t, one, one.agent === local ? remote : local, ours, published)
              for (const one of checked) opened.splice(opened.indexOf(one), 1)
            }
          })
          for (const one of opened) await one.close()
        })
      }
    }
  }

  test('interop: stop', async (t) => {
    await local.stop()
    await remote.stop()
    await remote.kill()
    await rm(folder, { recursive: true, force: true })
    t.end()
  })
}

async function sameContent(t: Test, places: readonly Place[]): Promise<void> {
  const contents = []
  for (const place of places) {
    const content = await place.content()
    contents.push(content)
    const audit = await place.call('audit')
    t.deepEqual(audit, { valid: Object.keys(content).length, invalid: 0 }, `audit of ${place.subject}`)
  }
  for (const content of contents.slice(1)) t.deepEqual(content, contents[0], 'the same blocks')
}

/** Closes a feed and opens its folder with the other package: everything must be there. */
async function openedByTheOther(
  t: Test,
  place: Place,
  agent: AgentCommands,
  ours: string,
  published: string
): Promise<void> {
  const before = await place.content()
  const { length, byteLength } = await place.info()
  await place.close()
  const other = new Place(agent, place.subject === ours ? published : ours, `${place.id} again`, place.folder)
  await other.open()
  const after = await other.info()
  t.deepEqual(
    [after.length, after.byteLength],
    [length, byteLength],
    `a folder of ${place.subject} elsewhere`
  )
  t.deepEqual(await other.content(), before, 'with the same blocks')
  t.deepEqual(
    await other.call('audit'),
    { valid: Object.keys(before).length, invalid: 0 },
    'and a clean audit'
  )
  await other.close()
}
