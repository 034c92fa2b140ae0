/** Feeds among the types of Node.js. */
import { once } from 'node:events'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import ddatabase, { type Feed } from '../../src/index.ts'
import { exact } from './exact.ts'

const feed = ddatabase('./dir')
declare const sink: Writable

await pipeline(feed, sink)
await pipeline(feed.createReadStream({ start: 5 }), sink)
await pipeline(Readable.from(['a']), feed.createWriteStream())
await pipeline(feed.createReadStream(), feed.createWriteStream())
await once(feed, 'ready')
await once(feed.createReadStream(), 'end')
exact<Readable>()(Readable.from(feed))
exact<boolean>()(feed.key instanceof Uint8Array)

{
  await using closing = ddatabase('./dir', { valueEncoding: 'utf-8' })
  exact<Feed<string>>()(closing)
}
