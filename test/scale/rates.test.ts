import RandomAccessMemory from 'random-access-memory'
import test, { type Test } from 'tape'
import ddatabase, { ProtocolStream } from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'

const RATE = 200_000
const BLOCKS = 40
const BLOCK = Buffer.alloc(2500, 'x')
const BYTES = BLOCKS * BLOCK.byteLength

type Feed = ReturnType<typeof ddatabase>
type Options = Record<string, unknown>

async function writer(options: Options = {}): Promise<Feed> {
  const feed = ddatabase(RandomAccessMemory, options)
  await feed.append(Array.from({ length: BLOCKS }, () => BLOCK))
  return feed
}

/** Copies the feed and answers how many seconds that took. */
async function copy(
  t: Test,
  source: Feed,
  options: { of?: Options; here?: Options; there?: Options }
): Promise<number> {
  const target = ddatabase(RandomAccessMemory, source.key!, options.of ?? {})
  await target.ready()
  const start = performance.now()
  const here = source.replicate(true, options.here)
  const there = target.replicate(false, options.there)
  here.pipe(there).pipe(here)
  await within(new Promise<void>((resolve) => there.once('close', () => resolve())), 'the copy')
  const seconds = (performance.now() - start) / 1000
  t.equal(target.downloaded(), BLOCKS, 'everything is there')
  await target.close()
  return seconds
}

// What may have left at once: what was saved up, and one block more; of downloads as much as blocks are taken to be before one has come.
const AT_ONCE = 0.05 * RATE + BLOCK.byteLength + 64 * 1024
const LEAST = (BYTES - AT_ONCE) / RATE

function slowed(t: Test, seconds: number): void {
  t.ok(seconds >= LEAST, `${BYTES} bytes took ${seconds.toFixed(2)} s, not less than ${LEAST.toFixed(2)}`)
}

test('rates: of uploads and downloads, as options of a feed and of a stream', async (t) => {
  for (const name of ['maxUploadRate', 'maxDownloadRate'] as const) {
    const ofFeed = await writer(name === 'maxUploadRate' ? { [name]: RATE } : {})
    t.equal(ofFeed.maxUploadRate, name === 'maxUploadRate' ? RATE : Number.POSITIVE_INFINITY)
    slowed(t, await copy(t, ofFeed, name === 'maxDownloadRate' ? { of: { [name]: RATE } } : {}))
    await ofFeed.close()
    const source = await writer()
    const end = name === 'maxUploadRate' ? 'here' : 'there'
    slowed(t, await copy(t, source, { [end]: { [name]: RATE } }))
    await source.close()
  }
})

test('rates: all peers of a feed share one', async (t) => {
  const source = await writer({ maxUploadRate: 2 * RATE })
  const times = await Promise.all([1, 2, 3].map(() => copy(t, source, {})))
  const least = (3 * BYTES - 2 * AT_ONCE) / (2 * RATE)
  t.ok(
    Math.max(...times) >= least,
    `three copies took ${Math.max(...times).toFixed(2)} s, not less than ${least.toFixed(2)}`
  )
  await source.close()
})

test('rates: can be changed while something waits', async (t) => {
  const source = await writer({ maxUploadRate: 1 })
  const target = ddatabase(RandomAccessMemory, source.key!, { maxDownloadRate: 1 })
  await target.ready()
  const here = source.replicate(true)
  const there = target.replicate(false)
  here.pipe(there).pipe(here)
  await new Promise((resolve) => source.once('upload', resolve))
  t.ok(target.downloaded() < BLOCKS, 'at a byte a second it would take a day')
  source.maxUploadRate = Number.POSITIVE_INFINITY
  target.maxDownloadRate = 1e9
  await within(new Promise<void>((resolve) => there.once('close', () => resolve())), 'the copy')
  t.equal(target.downloaded(), BLOCKS)
  t.deepEqual([source.maxUploadRate, target.maxDownloadRate], [Number.POSITIVE_INFINITY, 1e9])
  await Promise.all([source.close(), target.close()])
})

test('rates: closing does not wait for them', async (t) => {
  const source = await writer({ maxUploadRate: 1 })
  const target = ddatabase(RandomAccessMemory, source.key!)
  await target.ready()
  const here = source.replicate(true)
  const there = target.replicate(false)
  here.pipe(there).pipe(here)
  const ended = new Promise<void>((resolve) => there.once('close', () => resolve()))
  there.on('error', () => {})
  await new Promise((resolve) => source.once('upload', resolve))
  await within(source.close(), 'closing')
  await within(ended, 'the end of the stream')
  await target.close()
  t.pass('it has ended')
})

test('rates: of a stream that is there already', async (t) => {
  const source = await writer()
  await source.ready()
  const stream = new ProtocolStream(true)
  t.equal(stream.maxUploadRate, Number.POSITIVE_INFINITY)
  source.replicate(stream, { maxUploadRate: 5000, maxDownloadRate: 6000 })
  t.deepEqual([stream.maxUploadRate, stream.maxDownloadRate], [5000, 6000])
  source.replicate(stream, { maxUploadRate: null })
  t.equal(stream.maxUploadRate, 5000, 'who says nothing changes nothing')
  stream.maxUploadRate = 7000
  t.equal(stream.maxUploadRate, 7000)
  stream.destroy()
  await source.close()
})

test('rates: wrong ones are refused', async (t) => {
  for (const name of ['maxUploadRate', 'maxDownloadRate']) {
    for (const wrong of ['1', 0, -1, Number.NaN, {}]) {
      t.throws(
        () => ddatabase(RandomAccessMemory, { [name]: wrong } as object),
        /maxUploadRate|maxDownloadRate/
      )
      t.throws(() => new ProtocolStream(true, { [name]: wrong } as object), /maxUploadRate|maxDownloadRate/)
    }
  }
  const feed = await writer()
  t.throws(() => {
    feed.maxUploadRate = 0
  }, RangeError)
  t.throws(() => {
    feed.maxDownloadRate = -5
  }, RangeError)
  t.throws(() => {
    feed.maxUploadRate = 'fast' as unknown as number
  }, TypeError)
  await feed.close()
})
