import { DDatabaseError, Feed, type FeedOptions } from '../../src/index.ts'
import { Failure } from './failure.ts'

/** Opens the feed in a folder. Fails with exit code 4 if what is there is no feed that can be used. */
export async function openFeed(
  folder: string,
  options: FeedOptions = {},
  key: Uint8Array | null = null
): Promise<Feed> {
  const feed = new Feed(folder, key, options)
  try {
    await feed.ready()
    return feed
  } catch (error) {
    if (!DDatabaseError.is(error)) throw error
    const reason = error.code === 'ELOCKED' ? 'another process is using it' : error.message
    throw new Failure('folder', `The folder ${folder} cannot be used: ${reason}.`, error)
  }
}
