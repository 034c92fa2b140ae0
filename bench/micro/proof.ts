import { bench, do_not_optimize } from 'mitata'
import RAM from 'random-access-memory'
import { ed25519Verify } from '../../src/crypto/backend.ts'
import ddatabase from '../../src/index.ts'
import { type Claim, nodesToRead, type Proof, verifyBlock } from '../../src/merkle/verify.ts'
import { BlockRun, blockAt, randomNumbers } from '../harness/blocks.ts'

const blocks = 200_000
const blockSize = 16
const batch = 10_000
/** Random blocks whose proofs are made beforehand. */
const drawn = 256
const nothingKnown = { get: () => false }

let filled: Promise<ReturnType<typeof ddatabase>> | null = null

/** A feed in memory, made when it is first needed. */
function feed(): Promise<ReturnType<typeof ddatabase>> {
  filled ??= fill()
  return filled
}

async function fill(): Promise<ReturnType<typeof ddatabase>> {
  const made = ddatabase(() => new RAM())
  const run = new BlockRun(blockSize, batch)
  for (let start = 0; start < blocks; start += batch) {
    run.moveTo(start)
    await made.append(run.blocks)
  }
  return made
}

/** Whole proofs, with roots and signature, as for somebody who has nothing. */
export function proof(): void {
  bench(`proof: build, random of ${blocks} blocks`, async function* () {
    const source = await feed()
    const random = randomNumbers(1)
    yield () => source.proof(Math.floor(random() * blocks))
  })

  bench(`proof: verify the nodes, random of ${blocks} blocks`, async function* () {
    const claims = await someClaims()
    let at = 0
    yield () => do_not_optimize(verified(claims[at++ % drawn]!))
  })

  bench(`proof: verify nodes and signature, random of ${blocks} blocks`, async function* () {
    const claims = await someClaims()
    const { key } = await feed()
    let at = 0
    yield () => {
      const claim = claims[at++ % drawn]!
      const { head } = verified(claim)
      if (!ed25519Verify(claim.signature!, head!.signable, key!))
        throw new Error('The signature does not hold')
    }
  })
}

/** As for a replica that has nothing. */
function verified(claim: Claim): ReturnType<typeof verifyBlock> {
  nodesToRead(claim, nothingKnown)
  return verifyBlock(claim, new Map())
}

async function someClaims(): Promise<Claim[]> {
  const source = await feed()
  const random = randomNumbers(2)
  return Promise.all(
    Array.from({ length: drawn }, async () => {
      const block = Math.floor(random() * blocks)
      const { nodes, signature }: Proof = await source.proof(block)
      return { block, value: blockAt(blockSize, block), nodes, signature }
    })
  )
}
