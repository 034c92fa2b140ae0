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

test('inspect: a peer shows no secret key, not even with getters', async (t) => {
  const noise = ddatabase.Protocol.keyPair(Buffer.alloc(32, 9))
  const source = ddatabase(memory(), PAIR.publicKey, { secretKey: PAIR.secretKey })
  const copy = ddatabase(memory(), PAIR.publicKey)
  const from = source.replicate(false, { live: true, keyPair: noise })
  const to = copy.replicate(true, { live: true })
  from.pipe(to).pipe(from)
  await source.append('a')
  await copy.get(0)
  const [peer] = source.peers
  for (const options of [
    {},
    { getters: true },
    { getters: true, showHidden: true, depth: 20 }
  ] as InspectOptions[]) {
    for (const shown of [inspect(peer, options), inspect({ peer }, options), inspect(from, options)]) {
      t.ok(/remoteUploading: true|ProtocolStream/.test(shown))
      for (const { secretKey } of [PAIR, noise]) {
        const bytes = secretKey.subarray(0, 8)
        const texts = [
          bytes.join(', '),
          [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
        ]
        t.notOk(texts.some((text) => shown.includes(text)))
      }
    }
  }
  await source.close()
  await copy.close()
})
