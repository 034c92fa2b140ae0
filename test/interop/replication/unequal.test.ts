/** Peers that are not equal: cleared, truncated, behind, only uploading, leaving half way, between two packages. */
import { texts } from '../../helpers/replication-feeds.ts'
import { interop, Link } from '../../helpers/replication-interop.ts'
import { CuttingProxy } from '../../helpers/replication-processes.ts'
import { SeededRandom, seedFromEnvironment } from '../../helpers/seeded-random.ts'

const LIVE = { live: true }

interop({
  'a holder with cleared blocks': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(30))
    await writer.call('clear', 5, 12)
    await writer.call('clear', 29, 30)
    const replica = await b().open(writer.key)
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    // Blocks that are there prove that the feed is longer than they are.
    await replica.reach(30, 22)
    const missing = replica.call('get', 7).then((block) => Buffer.from(block as Uint8Array).toString())
    const other = await a().open(writer.key)
    const donor = await Link.between([writer], [other], dialerInitiates, LIVE)
    await writer.append('grown')
    await replica.reach(31, 23)
    await other.reach(31, 23)
    const void7 = missing.catch((error: Error) => error.message)
    await replica.agent.act(replica.id, 'cancel', 7, 8)
    t.equal(await void7, 'Request cancelled')
    await link.cut()
    await donor.cut()
    await same(writer, replica)
  },

  'blocks that are cleared while the replica knows of them': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(20))
    const replica = await b().open(writer.key, { sparse: true })
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    await replica.call('get', 19)
    await writer.call('clear', 3, 6)
    await writer.append('after')
    await replica.call('update', { minLength: 21 })
    await replica.call('get', 4, { ifAvailable: true }).then(
      () => t.fail('nobody has it'),
      (error: Error) => t.equal(error.message, 'Block not available from peers')
    )
    await replica.call('get', 6)
    await link.cut()
    await same(replica)
  },

  'a peer that is behind': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(10))
    const behind = await a().open(writer.key)
    t.equal(await (await Link.between([writer], [behind], dialerInitiates)).ended(), null)
    await writer.append(texts(25, 10))
    const ahead = await b().open(writer.key)
    t.equal(await (await Link.between([writer], [ahead], dialerInitiates)).ended(), null)
    t.equal(await (await Link.between([behind], [ahead], dialerInitiates)).ended(), null)
    t.equal((await behind.info()).downloaded, 35)
    await same(writer, ahead)
  },

  'two replicas that complete each other': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(64))
    const halves = [await a().open(writer.key), await b().open(writer.key)]
    const links = []
    for (const [i, half] of halves.entries()) {
      const link = await Link.between(
        [writer],
        [half],
        dialerInitiates,
        { live: true, upload: true },
        { live: true, download: false }
      )
      links.push(link)
      for (let block = 0; block < 64; block++) {
        if (block % 4 !== (i === 0 ? 0 : 2) && block % 4 !== 3) continue
        const proof = (await writer.call('proof', block)) as { nodes: unknown[]; signature: Uint8Array }
        await half.call('put', block, Buffer.from(`block ${block}`), buffers(proof))
      }
      await link.cut()
    }
    const between = await Link.between([halves[0]!], [halves[1]!], dialerInitiates, LIVE)
    await halves[0]!.reach(64, 48)
    await halves[1]!.reach(64, 48)
    await between.cut()
    await same(...halves)
    t.equal(links.length, 2)
  },

  'a remote that was truncated': async ({ t, a, b, dialerInitiates }) => {
    const writer = await a().open()
    // The published packages can only prove what they have signed.
    await writer.append(texts(12))
    await writer.append(texts(8, 12))
    const replica = await b().open(writer.key)
    t.equal(await (await Link.between([writer], [replica], dialerInitiates)).ended(), null)
    await writer.call('truncate', 12)
    const link = await Link.between([writer], [replica], dialerInitiates, LIVE)
    await writer.agent.peers(writer.id, 1)
    await replica.agent.peers(replica.id, 1)
    // The replica keeps what it has verified.
    t.deepEqual(await replica.call('audit'), { valid: 20, invalid: 0 })
    // A published holder goes on announcing the blocks that it has dropped, so only those that remain are asked for.
    const fresh = await b().open(writer.key, { sparse: true })
    const second = await Link.between([writer], [fresh], dialerInitiates, LIVE)
    await fresh.call('download', { start: 0, end: 12 })
    t.deepEqual(await fresh.call('audit'), { valid: 12, invalid: 0 })
    t.equal((await replica.info()).length, 20)
    await link.cut()
    await second.cut()
  },

  'a side that only uploads, and one that only downloads': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(texts(15))
    const replica = await b().open(writer.key)
    const link = await Link.between(
      [writer],
      [replica],
      dialerInitiates,
      { download: false },
      { upload: false }
    )
    await replica.reach(15)
    t.equal(await link.ended(), null)
    await same(writer, replica)
  },

  'a peer that leaves half way and comes back': async ({ t, a, b, dialerInitiates, same }) => {
    const writer = await a().open()
    await writer.append(Array.from({ length: 200 }, (_, i) => `${i} `.repeat(50)))
    const replica = await b().open(writer.key)
    // Not live, the published packages end the connection after a broken one at once, with blocks missing.
    const port = await writer.agent.listen(`door of ${writer.id}`, [writer.id], !dialerInitiates, LIVE)
    const random = new SeededRandom(seedFromEnvironment(7))
    const [proxy, doorway] = await CuttingProxy.start(port, random, 20_000)
    let attempts = 0
    while ((await replica.info()).downloaded < 200) {
      if (++attempts > 200) throw new Error('it never gets everything')
      const name = `attempt ${attempts} of ${replica.id}`
      await replica.agent.dial(name, [replica.id], doorway, dialerInitiates, LIVE)
      await replica.agent.endedOrComplete(name, replica.id, 200)
      await replica.agent.hangUp(name)
    }
    t.ok(proxy.cuts > 0, `${proxy.cuts} connections were cut`)
    const { downloadedBlocks } = (await replica.info()).totals
    if (replica.subject.startsWith('ours')) t.equal(downloadedBlocks, 200, 'no block was fetched twice')
    await proxy.stop()
    await same(writer, replica)
  }
})

/** Byte arrays from another process, as feeds want them. */
function buffers(proof: { nodes: unknown[]; signature: Uint8Array }): object {
  const nodes = (proof.nodes as { index: number; hash: Uint8Array; size: number }[]).map(
    ({ index, hash, size }) => ({
      index,
      hash: Buffer.from(hash),
      size
    })
  )
  return { nodes, signature: Buffer.from(proof.signature) }
}
