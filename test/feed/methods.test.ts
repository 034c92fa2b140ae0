/** What holds for every asynchronous method: its two forms, before opening, after closing (spec API §5). */
import test from 'tape'
import ddatabase, { type Feed } from '../../src/index.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { settle, within } from '../helpers/watchdog.ts'
import { failure, feedOf, memory, method } from './feeds.ts'
import { type Known, METHODS, type MethodCase } from './methods.ts'

const VALUES = ['a', 'bc', 'def']

const stored = new MemoryFiles()
let known: Known

test('methods: setup', async (t) => {
  const feed = await feedOf<unknown>(VALUES, {}, stored)
  const { signature } = await feed.signature()
  const proof = await feed.proof(0)
  known = { signature, proof: () => ({ nodes: [...proof.nodes], signature: proof.signature }) }
  await feed.close()
  t.equal(feed.length, 3)
})

/** A feed with the content, opening. */
const opening = () => ddatabase<unknown>(memory(stored.clone()))

async function opened(): Promise<Feed<unknown>> {
  const feed = opening()
  await feed.ready()
  return feed
}

/** A call with a callback: what the callback gets, and when and how often it is called. */
function called(feed: Feed<unknown>, name: string, args: unknown[]) {
  const answers: unknown[][] = []
  let returned: unknown
  const first = within(
    new Promise<unknown[]>((resolve) => {
      returned = method(feed, name)(...args, (...values: unknown[]) => {
        answers.push(values)
        resolve(values)
      })
    }),
    `${name}(callback)`
  )
  return { first, answers, returned, atOnce: answers.length > 0 }
}

function shown({ show }: MethodCase, values: unknown[]): unknown {
  return show === undefined ? values[0] : show(values)
}

for (const [name, item] of Object.entries(METHODS)) {
  const { args, expected, fails } = item

  test(`methods: ${name}, with a callback and for its promise`, async (t) => {
    const one = await opened()
    const call = called(one, name, args(one, known))
    t.equal(call.atOnce, false, 'the callback is asynchronous')
    const [error, ...values] = await call.first
    t.equal(error, null, 'no error')
    t.deepEqual(shown(item, values), expected, 'the answer')
    await settle()
    t.equal(call.answers.length, 1, 'one answer')
    if (item.returnsId) t.equal(typeof call.returned, 'symbol', 'an id')
    await one.close()

    const two = await opened()
    const promise = method(two, name)(...args(two, known))
    t.ok(promise instanceof Promise, 'a promise')
    t.deepEqual(shown(item, [await within(promise as Promise<unknown>, name)]), expected, 'the same answer')
    await two.close()
  })

  if (fails !== undefined) {
    test(`methods: ${name} that fails, with a callback and for its promise`, async (t) => {
      const feed = await opened()
      const call = called(feed, name, fails.args(known))
      t.equal(call.atOnce, fails.atOnce ?? false, 'when the callback is called')
      const answer = await call.first
      t.equal((answer[0] as { code?: unknown }).code, fails.code, 'the callback gets the error')
      t.equal(answer.length, 1, 'alone')
      const error = await failure(method(feed, name)(...fails.args(known)) as Promise<unknown>, name)
      t.equal(error.code, fails.code, 'the promise rejects with it')
      await settle()
      t.equal(call.answers.length, 1, 'one answer')
      t.equal(await feed.append('x'), 3, 'the feed goes on')
      await feed.close()
    })
  }

  test(`methods: ${name} before the feed is open`, async (t) => {
    const feed = opening()
    const call = called(feed, name, args(feed, known))
    t.equal(call.atOnce, false)
    const [error, ...values] = await call.first
    t.equal(error, null, 'waits for the opening')
    t.deepEqual(shown(item, values), expected, 'the answer')
    t.equal(feed.opened, true)
    await feed.close()
  })

  test(`methods: ${name} of a feed that cannot be opened`, async (t) => {
    const feed = ddatabase<unknown>(memory(), { createIfMissing: false })
    // These two do not tell why; without a listener it would be an uncaught exception.
    if (name === 'close' || name === 'destroyStorage') feed.on('error', () => {})
    const call = called(feed, name, args(feed, known))
    const [error] = await call.first
    const code = (error as { code?: unknown } | null)?.code
    // What cannot be opened can be closed; whether it can be destroyed, the suite of the life cycle asks.
    if (name === 'close') t.equal(code, undefined, 'no error')
    else if (name === 'destroyStorage') t.ok(code === undefined || code === 'ERR_NO_FEED', `${code}`)
    else t.equal(code, 'ERR_NO_FEED', 'the reason')
    await settle()
    t.equal(call.answers.length, 1, 'one answer')
    await feed.close()
  })

  test(`methods: ${name} after close`, async (t) => {
    const feed = await opened()
    await feed.close()
    const harmless = name === 'close' || name === 'destroyStorage'
    const code = harmless
      ? undefined
      : name === 'ready' || name === 'open'
        ? 'ERR_RESOURCE_CLOSED'
        : 'ERR_FEED_CLOSED'
    const call = called(feed, name, args(feed, known))
    t.equal(call.atOnce, false, 'the callback is asynchronous')
    const [error] = await call.first
    t.equal((error as { code?: unknown } | null)?.code, code, 'callback')
    if (code !== undefined) {
      const rejected = await failure(method(feed, name)(...args(feed, known)) as Promise<unknown>, name)
      t.equal(rejected.code, code, 'promise')
      t.equal(rejected.message, code === 'ERR_FEED_CLOSED' ? 'Feed is closed' : 'Resource is closed')
    }
    await settle()
    t.equal(call.answers.length, 1, 'one answer')
  })
}

test('methods: the ways to leave options out', async (t) => {
  const feed = await opened()
  const ways: Record<string, unknown[][]> = {
    get: [[1], [1, undefined], [1, null], [1, {}]],
    getBatch: [
      [0, 2],
      [0, 2, undefined],
      [0, 2, null],
      [0, 2, {}]
    ],
    head: [[], [undefined], [null], [{}]],
    update: [[2], [{ minLength: 2 }]],
    seek: [[2], [2, undefined], [2, null], [2, {}]],
    signature: [[], [undefined], [0]],
    proof: [[0], [0, undefined], [0, null], [0, {}]],
    clear: [[0], [0, undefined], [0, 2, undefined], [0, 2, null], [0, 2, {}]]
  }
  for (const [name, lists] of Object.entries(ways)) {
    for (const args of lists) {
      const what = `${name}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`
      const [error] = await called(feed, name, args).first
      t.equal(error, null, `${what} with a callback`)
      await within(method(feed, name)(...args) as Promise<unknown>, what)
    }
    if (name === 'clear') t.deepEqual([feed.has(0), feed.has(1)], [false, false])
  }
  await feed.close()
})

test('methods: a callback of undefined is none', async (t) => {
  const feed = await opened()
  t.equal(await (method(feed, 'append')('x', undefined) as Promise<number>), 3)
  t.equal(Buffer.from((await method(feed, 'get')(3, {}, undefined)) as Uint8Array).toString(), 'x')
  await (method(feed, 'ready')(undefined) as Promise<void>)
  await (method(feed, 'close')(undefined) as Promise<void>)
  t.equal(feed.closed, true)
})
