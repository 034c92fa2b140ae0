/** Value encodings: names, codecs, and encodings of single calls (spec FORMAT §11). */
import test from 'tape'
import type { Codec } from '../../src/feed/encoding.ts'
import ddatabase from '../../src/index.ts'
import { nextTurn } from '../../src/util/turn.ts'
import { collect } from '../helpers/feed-face.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { published } from '../helpers/published.ts'
import { feedOf, memory, refusal } from './feeds.ts'

const SAMPLES: Record<string, unknown[]> = {
  binary: ['text', Buffer.from([1, 2, 3]), new Uint8Array([4, 5]), Buffer.alloc(0)],
  json: [{ a: [1, 'x'] }, null, 5, 'text', true],
  ndjson: [{ a: 1 }, []],
  'utf-8': ['zwölf', '✓', '', 5],
  utf8: ['zwölf', '✓'],
  ascii: ['plain'],
  hex: ['00ff10'],
  base64: ['AAEC', 'aGk='],
  ucs2: ['zwölf ✓'],
  'ucs-2': ['zwölf ✓'],
  utf16le: ['zwölf ✓'],
  'utf16-le': ['zwölf ✓'],
  'no such encoding': ['text', Buffer.from([1])]
}

const plain = (values: readonly unknown[]) =>
  values.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value))

for (const [name, values] of Object.entries(SAMPLES)) {
  test(`encodings: ${name}, the bytes and values of the original`, async (t) => {
    const [ours, theirs] = [new MemoryFiles(), new MemoryFiles()]
    const feed = ddatabase<unknown>(memory(ours), { valueEncoding: name })
    const original = published(theirs.factory(), null, { valueEncoding: name })
    await feed.append(values)
    await original.append(values)
    t.deepEqual(Buffer.from(ours.read('data')!), Buffer.from(theirs.read('data')!), 'stored bytes')
    const expected = plain(await original.getBatch(0, values.length))
    t.deepEqual(plain(await feed.getBatch(0, values.length)), expected, 'getBatch')
    const single = []
    for (let i = 0; i < values.length; i++) single.push(await feed.get(i))
    t.deepEqual(plain(single), expected, 'get')
    // A chunk of a stream cannot be null.
    const last = expected.indexOf(null)
    const start = last + 1
    t.deepEqual(plain(await collect(feed.createReadStream({ start }))), expected.slice(start), 'read stream')
    t.deepEqual(plain([await feed.head()]), expected.slice(-1), 'head')
    await feed.close()
    await original.close()
  })
}

test('encodings: a codec', async (t) => {
  const codec = {
    encode: (value: number) => Buffer.from([value >> 8, value & 255]),
    decode: (block: Uint8Array) => (block[0]! << 8) | block[1]!
  }
  const feed = await feedOf<number>([1, 258, 65535], { valueEncoding: codec })
  t.deepEqual(await feed.getBatch(0, 3), [1, 258, 65535])
  t.equal(await feed.get(1), 258)
  t.equal(feed.byteLength, 6)
  const replica = ddatabase<number>(memory(), feed.key, { valueEncoding: codec })
  await replica.put(1, 258, await feed.proof(1))
  t.equal(await replica.get(1), 258, 'put encodes as well')
  await feed.close()
  await replica.close()
})

test('encodings: of one call', async (t) => {
  const feed = await feedOf<unknown>([{ a: 1 }, { a: 2 }], { valueEncoding: 'json' })
  const line = '{"a":2}\n'
  t.deepEqual(await feed.get(1), { a: 2 }, 'the encoding of the feed')
  t.equal(await feed.get(1, { valueEncoding: 'utf-8' }), line, 'get')
  t.deepEqual(Buffer.from((await feed.get(1, { valueEncoding: 'binary' })) as Uint8Array), Buffer.from(line))
  t.deepEqual(await feed.getBatch(0, 2, { valueEncoding: 'utf-8' }), ['{"a":1}\n', line], 'getBatch')
  t.equal(await feed.head({ valueEncoding: 'utf-8' }), line, 'head')
  t.deepEqual(
    await collect(feed.createReadStream({ valueEncoding: 'utf-8', start: 1 })),
    [line],
    'read stream'
  )
  t.equal(
    await feed.get(1, {
      valueEncoding: { encode: () => Buffer.alloc(0), decode: (block: Uint8Array) => block.byteLength }
    }),
    8,
    'a codec'
  )
  t.deepEqual(await feed.get(1, { valueEncoding: null }), { a: 2 }, 'null is no encoding')

  const waiting = feed.get(2, { valueEncoding: 'utf-8' })
  await feed.append({ a: 3 })
  t.equal(await waiting, '{"a":3}\n', 'a block that is waited for')
  const options = { valueEncoding: 'utf-8' }
  await feed.get(0, options)
  t.deepEqual(options, { valueEncoding: 'utf-8' }, 'the options are as they were')
  await feed.close()
})

test('encodings: an asynchronous codec that fails where nobody looks does not end the process', async (t) => {
  const unheard: unknown[] = []
  const note = (reason: unknown): void => void unheard.push(reason)
  process.on('unhandledRejection', note)
  const failing = async (): Promise<never> => {
    throw new Error('asynchronously')
  }
  const codec = { encode: failing, decode: failing } as unknown as Codec
  const feed = ddatabase(memory())
  await feed.append(['a', 'b', 'c'])
  for await (const value of feed.createReadStream({ valueEncoding: codec, end: 3 })) {
    t.ok((value as unknown) instanceof Promise, 'a promise is handed on as any value')
    break
  }
  const typed = ddatabase(memory(), { valueEncoding: codec })
  t.match(await refusal(typed.append('d')), /^ERR_ENCODING: .*did not return bytes/)
  const extension = feed.registerExtension('asynchronous', { encoding: codec, onmessage() {} })
  t.throws(() => extension.broadcast('d' as never), /did not give bytes/)
  await nextTurn()
  await nextTurn()
  process.off('unhandledRejection', note)
  t.deepEqual(unheard, [])
  await Promise.all([feed.close(), typed.close()])
})
