import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Feed } from 'ddatabase'
import type { Context } from './context.ts'
import { Network, type NetworkArguments } from './network.ts'
import { using } from './open-feed.ts'

/**
 * A copy of a feed that is there as long as some work goes on, for commands that are given a key: blocks are fetched
 * when they are asked for.
 */
export async function borrowing<T>(
  key: Uint8Array,
  args: NetworkArguments,
  context: Context,
  work: (network: Network) => Promise<T>
): Promise<T> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-'))
  // A second Ctrl-C does not wait for promises.
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  try {
    const feed = new Feed(folder, key, { sparse: true })
    return await using(feed, 'the temporary folder', async () => {
      await feed.ready()
      const network = await Network.join(feed, args, context)
      return network.during(work)
    })
  } finally {
    process.off('exit', remove)
    await rm(folder, { recursive: true, force: true })
  }
}
