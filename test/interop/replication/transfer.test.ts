/** Whole feeds between our package and the published ones, in separate processes over TCP. */
import { texts } from '../../helpers/replication-feeds.ts'
import { interop, Link } from '../../helpers/replication-interop.ts'

interop({
  'a whole feed': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(100))
    await writer.append([Buffer.alloc(0), Buffer.alloc(200_000, 'x')])
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates)
    t.equal(await link.ended(), null)
    const [up, down] = [await writer.info(), await replica.info()]
    t.equal(up.totals.uploadedBlocks, 102)
    t.equal(up.totals.uploadedBytes, up.byteLength)
    t.deepEqual([down.totals.downloadedBlocks, down.totals.downloadedBytes], [102, up.byteLength])
    await same(writer, replica)
  },

  'catching up with a feed that has grown': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(21))
    const replica = await b().open(writer.key)
    const links = [await Link.between([writer], [replica], dialerInitiates)]
    t.equal(await links[0]!.ended(), null)
    for (let i = 0; i < 5; i++) await writer.append(texts(3 + i, i))
    links.push(await Link.between([replica], [writer], dialerInitiates))
    t.equal(await links[1]!.ended(), null)
    t.equal((await replica.info()).totals.downloadedBlocks, 46)
    await same(writer, replica)
  },

  'single blocks': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(300))
    const replica = await b().open(writer.key, { sparse: true })
    const link = await Link.between([writer], [replica], dialerInitiates, { live: true })
    for (const i of [7, 299, 0, 150, 151, 64]) {
      t.equal(String(Buffer.from((await replica.call('get', i)) as Uint8Array)), `block ${i}`)
    }
    const batch = (await replica.call('getBatch', 20, 25)) as Uint8Array[]
    t.deepEqual(
      batch.map((block) => String(Buffer.from(block))),
      texts(5, 20)
    )
    await replica.call('download', { start: 90, end: 100 })
    await replica.call('download', [3, 200])
    const { downloaded, totals } = await replica.info()
    t.equal(downloaded, 23)
    t.equal(totals.downloadedBlocks, 23)
    await link.cut()
    await same(replica)
  },

  'modes without encryption': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(30))
    const replicas = [await b().open(writer.key), await b().open(writer.key)]
    const modes = [{ encrypted: false }, { encrypted: false, noise: false }]
    for (const [i, mode] of modes.entries()) {
      const link = await Link.between([writer], [replicas[i]!], dialerInitiates, mode)
      t.equal(await link.ended(), null, JSON.stringify(mode))
    }
    await same(writer, ...replicas)
  },

  'many feeds on one stream': async ({ t, a, b, dialerInitiates, same }) => {
    const here = []
    const there = []
    for (let i = 0; i < 6; i++) {
      // Written alternately on either side.
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a]
      const writer = await from().open()
      await writer.append(texts(1 + 7 * i, i))
      const replica = await to().open(writer.key)
      here.push(i % 2 === 0 ? writer : replica)
      there.push(i % 2 === 0 ? replica : writer)
    }
    const link = await Link.between(here, [...there].reverse(), dialerInitiates)
    t.equal(await link.ended(), null)
    for (const i of [1, 4]) await same(here[i]!, there[i]!)
    for (const i of here.keys()) {
      if (i !== 1 && i !== 4) t.equal((await there[i]!.info()).downloaded, 1 + 7 * i)
    }
  },

  'a static feed': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open(null, { live: false })
    await writer.append(texts(9))
    await writer.call('finalize')
    await writer.close()
    const key = Buffer.from(await writer.agent.open(writer.id, writer.subject, writer.folder, null, {}))
    const replica = await b().open(key)
    const link = await Link.between([writer], [replica], dialerInitiates)
    t.equal(await link.ended(), null)
    await same(writer, replica)
  }
})
