import type { Feed, Peer } from '../../src/index.ts'

/** The name of the extension. */
const NAME = 'ddatabase-start/sha256'

/**
 * Tells everybody who replicates the feed the SHA-256 of the file, in hexadecimal, so that it can be compared there. It is
 * the word of whoever serves the feed; what makes the blocks those of the author is the signature of the feed.
 */
export function offerDigest(feed: Feed, sha256: string): void {
  const extension = feed.registerExtension<string>(NAME, { encoding: 'utf-8' })
  feed.on('peer-open', (peer: Peer) => extension.send(sha256, peer))
}

/** The SHA-256 that the other side offers, once it has; null until then. */
export function learnDigest(feed: Feed): () => string | null {
  let sha256: string | null = null
  feed.registerExtension<string>(NAME, {
    encoding: 'utf-8',
    onmessage: (message) => {
      sha256 = message
    }
  })
  return () => sha256
}
