/** Which values a feed has: from its options, from a codec, or as the caller says. */
import hypercore, { Feed as HypercoreFeed } from '../../src/hypercore.ts'
import * as everything from '../../src/index.ts'
import ddatabase, {
  type Callback,
  type Codec,
  Feed,
  type FeedOptions,
  type TreeNode
} from '../../src/index.ts'
import { exact } from './exact.ts'

interface Point {
  x: number
  y: number
}

declare const key: Uint8Array
declare const name: string
declare const points: Codec<Point>

// names of encodings, in every way to make a feed
exact<Feed<string>>()(ddatabase('./dir', { valueEncoding: 'utf-8' }))
exact<Feed<string>>()(ddatabase('./dir', { valueEncoding: 'hex', sparse: true }))
exact<Feed<string>>()(ddatabase('./dir', key, { valueEncoding: 'utf8' }))
exact<Feed<string>>()(ddatabase('./dir', null, { valueEncoding: 'base64' }))
exact<Feed<string>>()(new ddatabase('./dir', { valueEncoding: 'utf-8' }))
exact<Feed<string>>()(new ddatabase('./dir', 'abc', { valueEncoding: 'utf-8' }))
exact<Feed<string>>()(new Feed('./dir', { valueEncoding: 'utf-8' }))
exact<Feed<string>>()(new Feed('./dir', key, { valueEncoding: 'ascii' }))
exact<HypercoreFeed<string>>()(hypercore('./dir', { valueEncoding: 'utf-8' }))
exact<HypercoreFeed<string>>()(new hypercore('./dir', key, { valueEncoding: 'utf-8' }))
exact<HypercoreFeed<string>>()(new HypercoreFeed('./dir', { valueEncoding: 'utf-8' }))

// all exports at once
exact<Feed<string>>()(new everything.Feed('./dir', { valueEncoding: 'utf-8' }))
exact<Feed<string>>()(everything.default('./dir', { valueEncoding: 'utf-8' }))
exact<number>()(everything.MAX_BLOCK_SIZE)
exact<everything.Feed<string>>()(ddatabase('./dir', { valueEncoding: 'utf-8' }))

// bytes
exact<Feed<Uint8Array>>()(ddatabase('./dir'))
exact<Feed>()(ddatabase('./dir', null))
exact<Feed>()(ddatabase('./dir', key))
exact<Feed>()(ddatabase('./dir', {}))
exact<Feed>()(ddatabase('./dir', key, { sparse: true }))
exact<Feed>()(ddatabase('./dir', { valueEncoding: 'binary' }))
exact<Feed>()(ddatabase('./dir', { valueEncoding: undefined }))
exact<Feed>()(ddatabase('./dir', { valueEncoding: null }))
exact<Feed>()(new Feed('./dir'))
exact<HypercoreFeed>()(hypercore('./dir'))

// JSON is unknown, unless the caller knows
exact<Feed<unknown>>()(ddatabase('./dir', { valueEncoding: 'json' }))
exact<Feed<unknown>>()(ddatabase('./dir', key, { valueEncoding: 'ndjson' }))
exact<Feed<Point>>()(ddatabase<Point>('./dir', { valueEncoding: 'json' }))
exact<Feed<Point>>()(ddatabase<Point>('./dir', key, { valueEncoding: 'json' }))
exact<Feed<Point>>()(new ddatabase<Point>('./dir', { valueEncoding: 'json' }))
exact<Feed<Point>>()(new Feed<Point>('./dir', { valueEncoding: 'json' }))
exact<HypercoreFeed<Point>>()(hypercore<Point>('./dir', { valueEncoding: 'json' }))

// codecs
exact<Feed<Point>>()(ddatabase('./dir', { valueEncoding: points }))
exact<Feed<Point>>()(new Feed('./dir', key, { valueEncoding: points }))
exact<Feed<number>>()(
  ddatabase('./dir', {
    valueEncoding: {
      encode: (length: number) => new Uint8Array(length),
      decode: (block: Uint8Array) => block.length
    }
  })
)
class Dates {
  readonly name = 'dates'
  encode(date: Date): Uint8Array {
    return new TextEncoder().encode(date.toISOString())
  }
  decode(block: Uint8Array): Date {
    return new Date(new TextDecoder().decode(block))
  }
}
exact<Feed<Date>>()(ddatabase('./dir', { valueEncoding: new Dates() }))

// where only running the program tells which encoding it is
exact<Feed<unknown>>()(ddatabase('./dir', { valueEncoding: name }))
exact<Feed<string | Uint8Array>>()(ddatabase('./dir', { valueEncoding: name ? 'utf-8' : 'binary' }))

// options made elsewhere
declare const plain: FeedOptions
declare const ofText: FeedOptions<string>
declare const ofAnything: FeedOptions<unknown>
exact<Feed>()(ddatabase('./dir', plain))
exact<Feed<string>>()(ddatabase('./dir', ofText))
exact<Feed<string>>()(new Feed('./dir', key, ofText))
exact<Feed<unknown>>()(ddatabase('./dir', ofAnything))
function opened<T>(options: FeedOptions<T>): Feed<T> {
  return ddatabase<T>('./dir', options)
}
exact<Feed<Point>>()(opened({ valueEncoding: points }))

// functions that the feed calls answer with an error, or without
ddatabase('./dir', {
  onwrite: (index, data, peer, callback) => (index > 5 ? callback(new Error(`${data} ${peer}`)) : callback()),
  timeouts: { get: (callback) => callback(), update: (callback) => callback(null) }
})
ddatabase('./dir', {
  onwrite(_index, _data, _peer, callback: (error?: Error | null) => void) {
    callback(undefined)
  },
  timeouts: { get: (callback: () => void) => callback(), update: (callback: Callback) => callback(null) }
})
ddatabase('./dir').timeouts.update = (callback) => callback()

// classes of one's own
class Texts extends Feed<string> {
  async shout(index: number): Promise<string> {
    return (await this.get(index)).toUpperCase()
  }
}
class Bytes extends Feed {}
class Called extends ddatabase {}
exact<Promise<string>>()(new Texts('./dir', { valueEncoding: 'utf-8' }).get(0))
exact<Promise<Uint8Array>>()(new Bytes('./dir').get(0))
exact<Promise<Uint8Array>>()(new Called('./dir').get(0))
exact<Promise<TreeNode>>()(hypercore('./dir').getBlockInfo(0))
hypercore('./dir').getBlockInfo(0, (_error, node) => exact<TreeNode | undefined>()(node))

declare const something: unknown
if (something instanceof Feed) exact<number>()(something.length)
if (something instanceof ddatabase) exact<number>()(something.length)
exact<Uint8Array>()(ddatabase.discoveryKey(key))
exact<Uint8Array>()(Feed.discoveryKey(key))

// @ts-expect-error a number is no storage
ddatabase(5)
// @ts-expect-error a number is no key
ddatabase('./dir', 5, {})
// @ts-expect-error there is no such option
ddatabase('./dir', { sprase: true })
// @ts-expect-error there is no such option
new Feed('./dir', key, { sprase: true })
// @ts-expect-error a number is no encoding
ddatabase('./dir', { valueEncoding: 5 })
// @ts-expect-error half a codec
ddatabase('./dir', { valueEncoding: { encode: () => new Uint8Array(1) } })
// @ts-expect-error only hypercore's feeds have it
ddatabase('./dir').getBlockInfo(0)
// @ts-expect-error a codec of something else
const wrong: Feed<string> = ddatabase('./dir', { valueEncoding: points })

export { wrong }
