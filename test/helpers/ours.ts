/** This package's feeds behind the common face. */

import hypercore from '../../src/hypercore.ts'
import ddatabase from '../../src/index.ts'
import { type CallStyle, FeedFace, type OpenFeed, type RawFeed } from './feed-face.ts'

type Create = (storage: unknown, key: Uint8Array | null, options: object) => RawFeed

/** This package, called as `style` says: by default for promises. */
export function ours(style: () => CallStyle = () => 'promise'): OpenFeed {
  const create = ddatabase as unknown as Create
  return (storage, key = null, options = {}) => new FeedFace(create(storage, key, options), style)
}

/** This package in the hypercore dialect. */
export function oursHypercore(style: () => CallStyle = () => 'promise'): OpenFeed {
  const create = hypercore as unknown as Create
  return (storage, key = null, options = {}) => new FeedFace(create(storage, key, options), style)
}
