/** Everything that can open a feed directory, by name. */
import type { OpenFeed } from '../helpers/feed-face.ts'
import { ours } from '../helpers/ours.ts'
import { published, publishedHypercore } from '../helpers/published.ts'

export const PACKAGES: Record<string, OpenFeed> = {
  ours: ours(),
  'published ddatabase': published,
  'published hypercore': publishedHypercore
}
