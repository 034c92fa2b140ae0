import { call, type Feed } from '../harness/feed.ts'
import type { Row } from '../harness/row.ts'
import { copiedBlocks } from './fixtures.ts'

/** The whole feed against its tree, opened afresh each time. */
const audit: Row = {
  name: 'audit-16k',
  title: 'audit, 16 KB',
  operation: 'block',
  bytes: copiedBlocks.blockSize,
  fixture: copiedBlocks,
  needs: ['audit'],
  async start(context) {
    let feed: Feed | null = null
    return {
      async prepare() {
        const used = feed
        if (used) await call((callback) => used.close(callback))
        feed = await context.open(context.fixtureDir)
      },
      async step() {
        const { valid, invalid } = await call<{ valid: number; invalid: number }>((callback) =>
          feed!.audit!(callback)
        )
        if (valid !== context.fixtureBlocks || invalid !== 0) {
          throw new Error(`The audit found ${valid} valid and ${invalid} invalid blocks`)
        }
        return valid
      }
    }
  }
}

export const auditRows: readonly Row[] = [audit]
