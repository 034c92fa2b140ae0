/** A short run of the fuzzer of arguments, and what it has found; `npm run fuzz -- arguments` makes long ones. */
import test from 'tape'
import ddatabase, { DDatabaseError } from '../../src/index.ts'
import { ProtocolStream } from '../../src/replication/stream.ts'
import { feedOf, method, thrown } from '../feed/feeds.ts'
import { rejection, within } from '../helpers/watchdog.ts'
import { fuzzArguments } from './arguments.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: arguments that nobody expects',
  fuzz: fuzzArguments,
  found: [1173, 1594, 1798, 2439, 2601, 937813657, 937814242, 937816592, 1638239369],
  runs: 500
})

const TYPE = 'ERR_INVALID_ARG_TYPE'

test('found by the fuzzer: what is written to a stream and is no plain array of bytes ends it with a code', async (t) => {
  const detached = new Uint8Array(8)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  const trap = new Proxy(
    {},
    {
      getPrototypeOf() {
        throw new Error('a trap')
      }
    }
  )
  for (const [chunk, code] of [
    [trap, 'ERR_STREAM_HANDLER'],
    ['text', TYPE],
    [detached, 'ERR_STREAM_HANDLER']
  ] as const) {
    const stream = new ProtocolStream(false, { timeout: 0 })
    const failed = new Promise<Error & { code?: unknown }>((resolve) => stream.on('error', resolve))
    stream.resume()
    stream.write(chunk as never)
    t.equal((await within(failed, 'the error')).code, code)
  }
})

test('found by the fuzzer: wrong arguments of streams and extensions', async (t) => {
  const stream = new ProtocolStream(true, { timeout: 0 })
  for (const key of [undefined, 'x', new Uint8Array(31), {}]) {
    t.equal(
      thrown(() => stream.close(key as never)),
      TYPE,
      `close(${key})`
    )
  }
  for (const ms of [{}, 'soon', 1n, Symbol('ms')]) {
    for (const name of ['setTimeout', 'setKeepAlive']) {
      t.equal(
        thrown(() => method(stream, name)(ms)),
        TYPE,
        `${name}(${String(ms)})`
      )
    }
    t.equal(
      thrown(() => new ProtocolStream(true, { timeout: ms as never })),
      TYPE,
      'the option'
    )
  }
  stream.destroy()

  const feed = await feedOf(['a'])
  t.equal(
    thrown(() => feed.registerExtension('half', { encoding: { encode() {} } })),
    TYPE
  )
  const extension = feed.registerExtension<unknown>('bytes', {})
  for (const message of [undefined, Symbol('message'), 5]) {
    t.equal(
      thrown(() => extension.send(message)),
      'ERR_ENCODING',
      `send(${String(message)})`
    )
  }
  t.equal(extension.send(Buffer.from('x'), {} as never), false, 'to whom is no peer nothing is sent')
  await feed.close()
})

test('found by the fuzzer: clear looks at its numbers before it reckons with them', async (t) => {
  const feed = await feedOf(['a', 'b'])
  for (const start of [1n, Symbol('start')]) {
    t.equal((await rejection(feed.clear(start as never), 'clear')).code, TYPE, String(start))
  }
  t.ok(feed.has(0, 2))
  await feed.close()
})

test('found by the fuzzer: a storage that fails with what cannot be shown', async (t) => {
  const unspeakable = {
    toString() {
      throw new Error('a trap')
    }
  }
  const storage = () => ({
    read: (_offset: number, _size: number, callback: (error: unknown) => void) => callback(unspeakable),
    write: (_offset: number, _data: unknown, callback: (error: unknown) => void) => callback(unspeakable)
  })
  const feed = ddatabase(storage as never, { sparse: true })
  const error = await rejection(feed.ready(), 'ready')
  t.ok(DDatabaseError.is(error), `${error}`)
})
