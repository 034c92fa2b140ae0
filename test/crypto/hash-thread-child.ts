/** Has a hash thread, loses it by idleness, gets another one, and ends by itself while that one lives. */
import { mock } from 'node:test'
import { leafHash, offerLeaf } from '../../src/crypto/hash.ts'
import { crowding } from '../../src/crypto/hash-thread.ts'

// Whatever else this machine does.
Object.defineProperty(crowding, 'crowded', { get: () => false })

// Time passes when `tick` says so.
mock.timers.enable({ apis: ['setInterval'] })
const IDLE = 5_000

const block = Buffer.alloc(1024 * 1024, 'block')
const said: string[] = []

/** Offers the block until the thread has hashed it. */
async function helped(): Promise<string> {
  const hash = Buffer.alloc(32)
  for (let helps = false; !helps; ) {
    const made = offerLeaf(block)
    // Before there is a thread, it must be found out what it should hash with.
    if (made === null) leafHash(block)
    await new Promise((resolve) => setTimeout(resolve, made === null ? 0 : 5))
    helps = made?.into(hash, 0, 32) ?? false
  }
  return hash.equals(leafHash(block)) ? 'a thread' : 'wrong'
}

said.push(await helped())
mock.timers.tick(IDLE)
said.push(offerLeaf(block) === null ? 'gone' : 'still there')
mock.timers.tick(IDLE)
mock.timers.tick(IDLE)
said.push(offerLeaf(block) === null ? 'none' : 'still there')
said.push(await helped())
console.log(said.join(', '))
