/** Peers that are found by the key alone, on a network of nodes on loopback. */
import path from 'node:path'
import createTestnet from 'hyperdht/testnet.js'
import test from 'tape'
import { begin, fails, json, run, someFeed, temporaryFolder } from './helpers.ts'

const HOST = '127.0.0.1'

test('share, clone, sync and cat by the key alone', async (t) => {
  const network = await createTestnet(10, { host: HOST })
  t.teardown(() => network.destroy())
  const [{ host, port }] = network.bootstrap as [{ host: string; port: number }]
  const swarm = ['--bootstrap', `${host}:${port}`, '--host', HOST]
  const { dir, key } = await someFeed(t)
  const first = begin(t, ['share', dir, ...swarm])
  const [line] = await first.says(/^ddatabase clone (?!.*--no-swarm).*$/m)
  t.ok(line.endsWith(`./copy.feed --bootstrap ${host}:${port}`), 'the line for others has all that they need')
  await first.says(/Announced/)

  const copy = path.join(await temporaryFolder(t), 'copy')
  const cloned = await json(t, ['clone', key, copy, ...swarm])
  t.same([cloned.complete, cloned.fetchedBlocks], [true, 3], 'clone')
  t.equal((await run(t, ['cat', key, '--tail', '1', ...swarm])).out, 'two\n', 'cat')
  const { peers } = await json(t, ['peers', key, '--wait', '0.2', ...swarm])
  t.same([peers.length, peers[0].kind], [1, 'hyperswarm'], 'peers')

  // The author goes; whoever has a copy can serve it.
  first.child.kill('SIGINT')
  t.equal((await first.ended).code, 0)
  const second = begin(t, ['share', copy, ...swarm])
  await second.says(/Announced/)
  const other = path.join(await temporaryFolder(t), 'other')
  t.ok((await json(t, ['clone', key, other, ...swarm])).complete, 'from a copy')
  t.equal((await json(t, ['sync', other, ...swarm])).fetchedBlocks, 0, 'sync')
  const unknown = `${key[0] === '0' ? '1' : '0'}${key.slice(1)}`
  await fails(
    t,
    ['clone', unknown, `${other}2`, '--timeout', '2', ...swarm],
    5,
    /No peer with this feed was found in 2 s; check the key/
  )
})
