/** What `util.inspect` shows, beside the originals (spec API §3). */
import { type InspectOptions, inspect } from 'node:util'
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import { published, publishedHypercore } from '../helpers/published.ts'
import { memory } from './feeds.ts'

const PAIR = keyPair(Buffer.alloc(32, 7))

for (const [name, create, original] of [
  ['ddatabase', ddatabase, published],
  ['hypercore', hypercore, publishedHypercore]
] as const) {
  test(`inspect: ${name}, as the original`, async (t) => {
    const options = { secretKey: PAIR.secretKey, sparse: true }
    const ours = (create as typeof ddatabase)<unknown>(memory(), PAIR.publicKey, options)
    const theirs = original(memory(), PAIR.publicKey, options)
    const same = (stage: string) => {
      for (const settings of [{}, { colors: true }, { depth: 0 }, { compact: false }] as InspectOptions[]) {
        t.equal(
          inspect(ours, settings),
          inspect(theirs.feed, settings),
          `${stage}: ${JSON.stringify(settings)}`
        )
      }
      t.equal(
        inspect({ a: [{ b: ours }] }, { depth: 9 }),
        inspect({ a: [{ b: theirs.feed }] }, { depth: 9 }),
        `${stage}: inside of others`
      )
    }
    same('before ready')
    await ours.append(['a', 'bc'])
    await theirs.append(['a', 'bc'])
    same('open')
    await ours.close()
    await theirs.close()
    same('closed')
  })

  test(`inspect: ${name} without a key`, async (t) => {
    const ours = (create as typeof ddatabase)<unknown>(memory())
    const theirs = original(memory())
    t.equal(inspect(ours), inspect(theirs.feed))
    await ours.close()
    await theirs.close()
  })
}
