/** Runs one scenario; see unhandled.test.ts. Without handlers an unhandled rejection or error ends this process. */
import assert from 'node:assert/strict'
import ddatabase from '../../src/index.ts'
import { FaultPlan } from '../helpers/faulty-storage.ts'
import type { RawFeed } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'

type Loose = RawFeed & Record<string, (...args: unknown[]) => unknown>
const open = ddatabase as unknown as (storage: unknown, key?: unknown, options?: object) => Loose

/** Time for anything that is under way to come out. */
async function wait(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

function dead(): (name: string) => unknown {
  const plan = new FaultPlan()
  plan.arm('dead', 2)
  return new MemoryFiles().factory(plan)
}

const SCENARIOS: Record<string, () => Promise<void>> = {
  async 'calls nobody waits for'() {
    const replica = open(new MemoryFiles().factory(), Buffer.alloc(32, 1))
    await replica.ready!()
    const plan = new FaultPlan()
    const writer = open(new MemoryFiles().factory(plan))
    await writer.append!('a')
    for (const feed of [replica, writer]) {
      if (feed === writer) plan.arm('dead', 1)
      feed.append!('x')
      feed.append!(Buffer.alloc(9_000_000))
      feed.get!(5, { wait: false })
      feed.get!(6, { timeout: 1 })
      feed.get!(7)
      feed.get!(0, { wait: false })
      feed.getBatch!(0, 9, { wait: false })
      feed.head!({ wait: false })
      feed.seek!(100, { wait: false })
      feed.clear!(0, 1)
      feed.truncate!(0)
      feed.signature!(9)
      feed.rootHashes!(9)
      feed.verify!(0, Buffer.alloc(64))
      feed.proof!(9)
      feed.put!(0, 'x', { nodes: [], signature: null })
      feed.audit!()
      feed.flush!()
      feed.download!({ start: 0, end: 5 })
      await wait()
      feed.close!()
      feed.close!()
      await wait()
      feed.ready!()
      feed.append!('x')
      feed.get!(0)
      feed.destroyStorage!()
      await wait()
    }
    const stream = writer.createReadStream()
    stream.on('error', () => {})
    stream.resume()
    await wait()
  },

  async 'a failing opening that somebody was told of'() {
    const feed = open(dead())
    await assert.rejects(feed.ready!() as Promise<void>)
    await wait()
    const another = open(dead())
    await new Promise<void>((resolve) =>
      another.ready!((error: unknown) => {
        assert.ok(error)
        resolve()
      })
    )
    await wait()
  },

  async 'a failing opening with a listener'() {
    const feed = open(dead())
    const error = await new Promise((resolve) => feed.on('error', resolve))
    assert.equal(typeof (error as { code?: unknown }).code, 'string')
    await wait()
  },

  async 'a failing opening that a call was told of'() {
    const feed = open(dead())
    feed.append!('x')
    await wait()
    const another = open(dead())
    another.get!(0, () => {})
    await wait()
  },

  async 'a failing opening that nobody was told of'() {
    process.on('uncaughtException', (error) => console.log(`uncaughtException ${error.message}`))
    process.on('unhandledRejection', (error) => console.log(`unhandledRejection ${String(error)}`))
    open(dead())
    await wait()
  },

  async 'a callback that throws'() {
    process.on('uncaughtException', (error) => console.log(`uncaughtException ${error.message}`))
    process.on('unhandledRejection', (error) => console.log(`unhandledRejection ${String(error)}`))
    const feed = open(new MemoryFiles().factory())
    feed.append!('x', () => {
      throw new Error('of the application')
    })
    await wait()
  }
}

const scenario = SCENARIOS[process.argv[2] ?? '']
if (scenario === undefined) throw new Error(`no scenario ${process.argv[2]}`)
await scenario()
if (process.listenerCount('uncaughtException') === 0) console.log('alive')
