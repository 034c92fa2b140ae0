/** The package's entry point: feeds of the ddatabase dialect. */
import { type FeedFactory, feedFactory } from './feed/factory.ts'
import { Feed as FeedClass } from './feed/feed.ts'

/** Makes feeds: `ddatabase('./dir')`, with or without `new`. */
const ddatabase = feedFactory<FeedFactory>(FeedClass)

export * from './exports.ts'
export { Feed } from './feed/factory.ts'
export { ProtocolStream } from './replication/stream.ts'
export { ddatabase, ddatabase as default }
