/** Live replication between our package and the published ones: following, seeking, updating, extensions, acknowledgements. */
import { texts } from '../../helpers/replication-feeds.ts'
import { interop, Link } from '../../helpers/replication-interop.ts'

const LIVE = { live: true }

interop({
  'following a feed as it grows': async ({ a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    let length = 0
    for (const count of [1, 1, 5, 40, 2]) {
      await writer.append(count === 1 ? `single ${length}` : texts(count, length))
      length += count
      await replica.reach(length)
    }
    await link.cut()
    await same(writer, replica)
  },

  'seek, update and head': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(Array.from({ length: 120 }, (_, i) => 'y'.repeat((i * 13) % 57)))
    const replica = await b().open(writer.key, { sparse: true })
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    await replica.call('update')
    t.equal((await replica.info()).length, 120)
    for (const bytes of [0, 1, 100, 1500, 3000]) {
      t.deepEqual(await replica.call('seek', bytes), await writer.call('seek', bytes), `seek(${bytes})`)
    }
    await writer.append(['the', 'new', 'head'])
    const head = await replica.call('head', { update: true })
    t.equal(Buffer.from(head as Uint8Array).toString(), 'head')
    t.equal((await replica.info()).length, 123)
    await replica.call('update', { ifAvailable: true }).then(
      () => t.fail('there is no update'),
      (error) => t.equal(error.message, 'No update available from peers')
    )
    await replica.call('get', 5000, { ifAvailable: true }).then(
      () => t.fail('there is no such block'),
      (error) => t.equal(error.message, 'Block not available from peers')
    )
    const waiting = replica.call('update', { minLength: 130 })
    await writer.append(texts(7))
    await waiting
    await link.cut()
    await same(replica)
  },

  acknowledgements: async ({ t, a, b, dialerInitiates }) => {
    const writer = await a().open()
    await writer.append(texts(10))
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates, { live: true, ack: true })
    await replica.reach(10)
    const acks = await link.acksOfServer(10)
    t.deepEqual([...acks].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    await link.cut()
  },

  extensions: async ({ t, a, b, dialerInitiates }) => {
    const writer = await a().open()
    await writer.append(texts(1))
    const replica = await b().open(writer.key)
    for (const [place, name] of [
      [writer, 'only here'],
      [writer, 'counting'],
      [replica, 'counting'],
      [replica, 'another']
    ] as const) {
      await place.agent.extend(place.id, name, 6)
    }
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    await replica.reach(1)
    t.equal(await writer.agent.broadcast(writer.id, 'only here', 1), true)
    await replica.agent.broadcast(replica.id, 'counting', 1)
    t.deepEqual(await writer.agent.messages(writer.id, 'counting', 3), [1, 3, 5])
    t.deepEqual(await replica.agent.messages(replica.id, 'counting', 3), [2, 4, 6])
    await writer.agent.extend(writer.id, 'another', 0)
    await writer.agent.broadcast(writer.id, 'another', { late: true })
    t.deepEqual(await replica.agent.messages(replica.id, 'another', 1), [{ late: true }])
    t.deepEqual(await replica.agent.messages(replica.id, 'another', 1), [{ late: true }])
    await link.cut()
  },

  counters: async ({ t, a, b, dialerInitiates }) => {
    const writer = await a().open()
    await writer.append(['a', 'bb', 'ccc'])
    const replica = await b().open(writer.key, { sparse: true })
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    await replica.call('get', 2)
    await replica.call('get', 1)
    const up = { uploadedBlocks: 2, uploadedBytes: 5, downloadedBlocks: 0, downloadedBytes: 0 }
    const down = { uploadedBlocks: 0, uploadedBytes: 0, downloadedBlocks: 2, downloadedBytes: 5 }
    const [ofWriter, ofReplica] = [await writer.info(), await replica.info()]
    t.deepEqual(ofWriter.totals, up)
    t.deepEqual(ofWriter.peers[0]!.totals, up)
    t.deepEqual(ofReplica.totals, down)
    t.deepEqual(ofReplica.peers[0]!.totals, down)
    t.deepEqual([ofWriter.peers[0]!.type, ofReplica.peers[0]!.type], ['tcp', 'tcp'])
    t.equal(ofReplica.remoteLength, 3)
    await link.cut()
  },

  'switching uploads and downloads off and on': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(5))
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates, { live: true, upload: false }, LIVE)
    await replica.agent.peers(replica.id, 1)
    await writer.agent.act(writer.id, 'setUploading', false)
    await writer.agent.act(writer.id, 'setUploading', true)
    await replica.reach(5)
    await replica.agent.act(replica.id, 'setDownloading', false)
    await writer.append(texts(5, 5))
    // What comes back over the same connection comes after the Have of the five blocks.
    await writer.agent.extend(writer.id, 'mark', 0)
    await replica.agent.extend(replica.id, 'mark', 0)
    await writer.agent.broadcast(writer.id, 'mark', 'x')
    await replica.agent.messages(replica.id, 'mark', 1)
    t.equal((await replica.info()).length, 5)
    await replica.agent.act(replica.id, 'setDownloading', true)
    await replica.reach(10)
    await link.cut()
    await same(writer, replica)
  },

  'a feed that is closed by one side': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(5))
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates, { live: false }, LIVE)
    await replica.reach(5)
    const waiting = writer.call('get', 77).catch((error: Error) => error.message)
    await writer.agent.peers(writer.id, 1)
    const again = replica.call('get', 20).catch((error: Error) => error.message)
    await replica.close()
    t.equal(await again, 'Feed is closed')
    t.equal(await link.ended(), null)
    t.equal((await writer.info()).peers.length, 0)
    await writer.close()
    t.equal(await waiting, 'Feed is closed')
    await writer.open()
    await replica.open()
    await same(writer, replica)
  }
})
