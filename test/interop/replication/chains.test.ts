/** Three parties in three processes: what comes from one package goes through the other to the third. */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import test from 'tape'
import { texts } from '../../helpers/replication-feeds.ts'
import { Link, Place } from '../../helpers/replication-interop.ts'
import { startAgent } from '../../helpers/replication-processes.ts'

const CHAINS = [
  ['published ddatabase', 'ours', 'published ddatabase'],
  ['ours', 'published ddatabase', 'ours'],
  ['published hypercore', 'ours (hypercore)', 'published hypercore'],
  ['ours (hypercore)', 'published hypercore', 'ours (hypercore)']
]

test('interop: chains of three', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-chains-'))
  const agents = await Promise.all([startAgent(), startAgent(), startAgent()])
  for (const [n, subjects] of CHAINS.entries()) {
    const chain = subjects.join(' → ')
    const place = (i: number, tag = '') =>
      new Place(agents[i]!, subjects[i]!, `${n}.${i}${tag}`, path.join(folder, `${n}.${i}${tag}`))
    const first = await place(0).open()
    await first.append(texts(50))
    const middle = await place(1).open(first.key)
    const last = await place(2).open(first.key)
    const sparse = await place(2, ' sparse').open(first.key, { sparse: true })

    const links = [
      await Link.between([first], [middle], true, { live: true, ack: true }),
      await Link.between([middle], [last], false, { live: true, ack: true }),
      await Link.between([middle], [sparse], true, { live: true })
    ]
    await last.reach(50)
    for (let i = 0; i < 4; i++) {
      await first.append(texts(2 + i, i))
      await sparse.call('update', { minLength: (await first.info()).length })
    }
    await last.reach(64)
    await middle.reach(64)
    t.equal((await links[0]!.acksOfServer(64)).length, 64, `${chain}: every block was acknowledged`)
    t.equal((await links[1]!.acksOfServer(64)).length, 64)
    await sparse.call('get', 63)
    t.deepEqual(
      await sparse.call('seek', 300),
      await first.call('seek', 300),
      'a place found through the middle'
    )
    t.equal((await first.info()).totals.uploadedBlocks, 64, 'the source sent each block once')

    // The source leaves; the middle still serves.
    await links[0]!.cut()
    await sparse.call('download', { start: 0, end: 64 })
    const content = await first.content()
    for (const replica of [middle, last, sparse]) {
      t.deepEqual(await replica.content(), content, 'the same blocks')
      t.deepEqual(await replica.call('audit'), { valid: 64, invalid: 0 }, 'and a clean audit')
    }
    for (const link of links.slice(1)) await link.cut()
    for (const one of [first, middle, last, sparse]) await one.close()
  }
  for (const agent of agents) {
    await agent.stop()
    await agent.kill()
  }
  await rm(folder, { recursive: true, force: true })
})

test('interop: a process that is killed half way', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-killed-'))
  const [server, victim] = await Promise.all([startAgent(), startAgent()])
  const writer = await new Place(server, 'published ddatabase', 'writer', path.join(folder, 'writer')).open()
  await writer.append(Array.from({ length: 400 }, (_, i) => `${i} `.repeat(100)))
  const replica = new Place(victim, 'ours', 'replica', path.join(folder, 'replica'))
  await replica.open(writer.key, { sparse: true })
  await Link.between([writer], [replica], true, { live: true })
  await replica.call('download', { start: 0, end: 150 })
  void replica.call('download', { start: 0, end: 400 }).catch(() => {})
  await victim.kill()
  await server.peers(writer.id, 0)

  const successor = await startAgent()
  const again = await new Place(successor, 'ours', 'again', replica.folder).open()
  const { downloaded } = await again.info()
  t.ok(downloaded >= 100, `${downloaded} blocks survived`)
  t.deepEqual(await again.call('audit'), { valid: downloaded, invalid: 0 })
  const link = await Link.between([writer], [again], false)
  t.equal(await link.ended(), null)
  t.equal(
    (await again.info()).totals.downloadedBlocks,
    400 - downloaded,
    'what was there was not fetched again'
  )
  t.deepEqual(await again.call('audit'), { valid: 400, invalid: 0 })
  for (const agent of [server, successor]) {
    await agent.stop()
    await agent.kill()
  }
  await rm(folder, { recursive: true, force: true })
})
