import { call, type Feed } from '../harness/feed.ts'
import type { Row } from '../harness/row.ts'
import { manyBlocks } from './fixtures.ts'

/** From the constructor to the last block; closing is not timed. */
const open: Row = {
  name: 'open-1m',
  title: 'open 1,000,000 blocks and get the last',
  operation: 'opening',
  fixture: manyBlocks,
  async start(context) {
    let feed: Feed | null = null
    return {
      async prepare() {
        const used = feed
        if (used) await call((callback) => used.close(callback))
      },
      async step() {
        const opening = context.create(context.fixtureDir)
        feed = opening
        await call((callback) => opening.ready(callback))
        await call<Uint8Array>((callback) => opening.get(opening.length - 1, {}, callback))
        return 1
      }
    }
  }
}

export const openRows: readonly Row[] = [open]
