import { pump } from '../harness/pump.ts'
import type { Row } from '../harness/row.ts'
import { smallBlocks } from './fixtures.ts'

/** Whole proofs (nothing known to the other side) of random blocks, one after the other. */
const random: Row = {
  name: 'proof-random-200k',
  title: 'proof, random, 200,000 blocks',
  operation: 'proof',
  fixture: smallBlocks,
  needs: ['proof'],
  async start(context) {
    const feed = await context.open(context.fixtureDir)
    const count = context.size(500, 50)
    const indexes: number[] = []
    return {
      prepare() {
        for (let at = 0; at < count; at++) indexes[at] = Math.floor(context.random() * context.fixtureBlocks)
      },
      step: () =>
        pump(count, 1, (position, callback) => feed.proof!(indexes[position]!, { digest: 0 }, callback))
    }
  }
}

export const proofRows: readonly Row[] = [random]
