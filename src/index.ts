/** The package's entry point: feeds of the ddatabase dialect. */
import { feedFactory } from './feed/factory.ts'
import { Feed } from './feed/feed.ts'

/** Makes feeds: `ddatabase('./dir')`, with or without `new`. */
const ddatabase = feedFactory(Feed)

export * from './exports.ts'
export { ddatabase, ddatabase as default, Feed }
