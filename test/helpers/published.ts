/** The published packages behind the common face. */
import { createRequire } from 'node:module'
import { FeedFace, type OpenFeed, type RawFeed } from './feed-face.ts'

const require = createRequire(import.meta.url)
type Create = (storage: unknown, key: Uint8Array | null, options: object) => RawFeed

/** ddatabase 10.0.4. */
export const published: OpenFeed = open('ddatabase-published')

/** hypercore 9.12.0. */
export const publishedHypercore: OpenFeed = open('hypercore-published')

function open(name: string): OpenFeed {
  const create = require(name) as Create
  return (storage, key = null, options = {}) => {
    const feed = create(storage, key, options)
    // It emits every failed opening, also when ready() is told; without a listener that would be a crash.
    feed.on('error', () => {})
    return new FeedFace(feed, () => 'callback')
  }
}
