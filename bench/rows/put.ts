import { join } from 'node:path'
import { shuffle } from '../harness/blocks.ts'
import { call, type Feed, type Proof } from '../harness/feed.ts'
import { pump } from '../harness/pump.ts'
import type { Claim, Context, Row } from '../harness/row.ts'
import { smallBlocks } from './fixtures.ts'

/** A replica that is filled block by block in a given order; when it is full, a new one takes its place. */
class Replica {
  feed!: Feed
  readonly #context: Context
  readonly #source: Feed
  readonly #order: number[]
  #number = 0
  #dir = ''
  #filled = Number.POSITIVE_INFINITY

  constructor(context: Context, source: Feed, order: number[]) {
    this.#context = context
    this.#source = source
    this.#order = order
  }

  /** The next `count` blocks to put, which all go into one replica. */
  async next(count: number): Promise<readonly number[]> {
    if (this.#filled + count > this.#order.length) {
      if (this.feed) await call((callback) => this.feed.close(callback))
      this.#dir = join(this.#context.dir, String(this.#number++))
      this.feed = await this.#context.open(this.#dir, this.#source.key)
      this.#filled = 0
    }
    return this.#order.slice(this.#filled, this.#filled + count)
  }

  /** Counts blocks that were put. */
  acknowledge(count: number): number {
    this.#filled += count
    return count
  }

  claim(): Claim {
    const present = this.#filled
    const samples = [this.#order[0]!, this.#order[present - 1]!]
    for (let at = 0; at < 6; at++) samples.push(this.#order[Math.floor(this.#context.random() * present)]!)
    const { blockSize } = smallBlocks
    return { dir: this.#dir, blockSize, length: this.#context.fixtureBlocks, present, samples }
  }
}

function inOrder(context: Context): number[] {
  return Array.from({ length: context.fixtureBlocks }, (_, index) => index)
}

/** A clone by hand: each block and the proof that the replica still needs, in order. */
const copy: Row = {
  name: 'copy-512',
  title: 'copy block by block (get, proof, put), 512 B',
  operation: 'block',
  fixture: smallBlocks,
  needs: ['digest', 'proof', 'put'],
  async start(context) {
    const source = await context.open(context.fixtureDir)
    const replica = new Replica(context, source, inOrder(context))
    const count = context.size(250, 50)
    let indexes: readonly number[] = []
    return {
      async prepare() {
        indexes = await replica.next(count)
      },
      async step() {
        await pump(count, 1, (position, callback) => {
          const index = indexes[position]!
          const { feed } = replica
          source.get(index, {}, (error, block) => {
            if (error) return callback(error, null)
            source.proof!(index, { digest: feed.digest!(index) }, (error, proof) => {
              if (error) return callback(error, null)
              feed.put!(index, block, proof, callback)
            })
          })
        })
        return replica.acknowledge(count)
      },
      claim: () => replica.claim()
    }
  }
}

/** Only the putting: random blocks with whole proofs that were made beforehand. */
const put: Row = {
  name: 'put-random-512',
  title: 'put with a whole proof, random, 512 B',
  operation: 'block',
  fixture: smallBlocks,
  needs: ['proof', 'put'],
  async start(context) {
    const source = await context.open(context.fixtureDir)
    const order = inOrder(context)
    shuffle(order, context.random)
    const replica = new Replica(context, source, order)
    const count = context.size(250, 50)
    let indexes: readonly number[] = []
    let blocks: Uint8Array[] = []
    let proofs: Proof[] = []
    return {
      async prepare() {
        indexes = await replica.next(count)
        blocks = []
        proofs = []
        for (const index of indexes) {
          blocks.push(await call<Uint8Array>((callback) => source.get(index, {}, callback)))
          proofs.push(await call<Proof>((callback) => source.proof!(index, { digest: 0 }, callback)))
        }
      },
      async step() {
        await pump(count, 1, (position, callback) => {
          replica.feed.put!(indexes[position]!, blocks[position]!, proofs[position]!, callback)
        })
        return replica.acknowledge(count)
      },
      claim: () => replica.claim()
    }
  }
}

export const putRows: readonly Row[] = [copy, put]
