/** What an uploader has read ahead when its requests are taken back, or the remote stops reading. */
import test from 'tape'
import { Feed, ProtocolStream } from '../../src/index.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { until } from '../helpers/replication-feeds.ts'

const PLAIN = { encrypted: false, noise: false, live: true, timeout: 0 } as const
const COUNT = 24
const block = (index: number) => Buffer.alloc(20_000, index)

for (let kept = 0; kept <= COUNT; kept++) {
  test(`uploads: ${kept} of ${COUNT} requests are left when the remote goes on reading`, async (t) => {
    const feed = new Feed(await temporaryFolder(t))
    await feed.append(Array.from({ length: COUNT }, (_, index) => block(index)))
    const stream = feed.replicate(false, PLAIN)
    const remote = new ProtocolStream(true, PLAIN)
    for (const one of [stream, remote]) one.on('error', (error) => t.fail(error.message))
    const got = new Map<number, Uint8Array | null>()
    const channel = remote.open(feed.key!, { ondata: ({ index, value }) => void got.set(index, value) })
    remote.on('data', (chunk) => void stream.write(chunk as Uint8Array))
    await until(() => feed.peers[0]?.remoteOpened === true, 'the Open')

    for (let index = 0; index < COUNT; index++) channel.request({ index })
    await until(() => feed.stats!.peers[0]!.uploadedBlocks > 0, 'an upload')
    // It stops when so much is waiting that nobody reads.
    let sent = -1
    for (let now = 0; now > sent; ) {
      sent = now
      await new Promise((resolve) => setTimeout(resolve, 5))
      now = feed.stats!.peers[0]!.uploadedBlocks
    }
    t.ok(sent < COUNT, `stopped after ${sent}`)
    // Who begins to listen now keeps what it gets, although it was read before.
    const heard = new Map<number, Uint8Array>()
    feed.on('upload', (index, bytes) => void heard.set(index, bytes as Uint8Array))
    for (let index = kept; index < COUNT; index++) channel.cancel({ index })
    await new Promise((resolve) => setTimeout(resolve, 5))
    stream.on('data', (chunk) => void remote.write(chunk as Uint8Array))

    await until(() => got.size >= Math.max(kept, sent), 'the blocks')
    await new Promise((resolve) => setTimeout(resolve, 5))
    t.equal(got.size, Math.max(kept, sent), 'what was asked for, or had left already')
    t.ok([...got].every(([index, value]) => block(index).equals(value!)))
    // What comes later is answered, too.
    feed.removeAllListeners('upload')
    for (let index = 0; index < 3; index++) channel.request({ index })
    channel.request({ index: COUNT - 1 })
    await until(() => got.has(COUNT - 1), 'the last block')
    t.ok(
      (heard.size > 0 || kept <= sent) && [...heard].every(([index, bytes]) => block(index).equals(bytes)),
      'listeners keep theirs'
    )
    stream.destroy()
    remote.destroy()
    await feed.close()
  })
}
