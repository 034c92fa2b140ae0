/** A short run of the fuzzer of connected feeds, and what it has found; `npm run fuzz -- connected` makes long ones. */
import test from 'tape'
import { feedOf, replicaOf, thrown } from '../feed/feeds.ts'
import { fuzzConnected } from './connected.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: arguments that nobody expects, while connected',
  fuzz: fuzzConnected,
  found: [],
  runs: 200
})

test('found by the fuzzer: what is no message of an extension, or no number of one, is refused before anything of it is on its way', async (t) => {
  const feed = await feedOf(['a', 'b'])
  const copy = await replicaOf(feed)
  const here = feed.replicate(true, { live: true })
  const there = copy.replicate(false, { live: true })
  // Of the pipe, when the other end is cut.
  there.on('error', () => {})
  here.pipe(there).pipe(here)
  await copy.get(0)
  const alone = await feedOf([])
  const detached = new Uint8Array(8)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  for (const [id, message, code] of [
    [0, detached, 'ERR_INVALID_ARG_VALUE'],
    [[0], Buffer.from('x'), 'ERR_INVALID_ARG_TYPE'],
    [-1, Buffer.from('x'), 'ERR_OUT_OF_RANGE'],
    [0.5, Buffer.from('x'), 'ERR_OUT_OF_RANGE']
  ] as const) {
    for (const [name, one] of Object.entries({ connected: feed, alone })) {
      t.equal(
        thrown(() => one.extension(id as number, message)),
        code,
        `extension ${id}, ${name}`
      )
    }
  }
  t.equal(String(await copy.get(1)), 'b')
  here.destroy()
  await Promise.all([feed.close(), copy.close(), alone.close()])
})
