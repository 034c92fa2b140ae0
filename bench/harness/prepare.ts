import { closeSync, fsyncSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BlockRun } from './blocks.ts'
import { type CreateFeed, call } from './feed.ts'
import type { AppendJob, PrepareJob } from './jobs.ts'
import { pump } from './pump.ts'

/** Bytes and blocks of one batch at most. */
const batchBytes = 8 * 1024 * 1024
const batchBlocks = 1024

/** Writes a feed of unique blocks and closes it. */
export async function prepareFeed(create: CreateFeed, job: PrepareJob): Promise<void> {
  const feed = create(job.dir, null, {})
  await call((callback) => feed.ready(callback))
  const perBatch = Math.min(batchBlocks, Math.floor(batchBytes / job.blockSize))
  const run = new BlockRun(job.blockSize, perBatch)
  for (let index = 0; index < job.blocks; index += perBatch) {
    run.moveTo(index)
    const batch = run.blocks.slice(0, job.blocks - index)
    await call((callback) => feed.append(batch, callback))
  }
  await call((callback) => feed.close(callback))
  // Else the system would be writing these files back while others are measured.
  for (const name of readdirSync(job.dir, { recursive: true, encoding: 'utf8' })) {
    const path = join(job.dir, name)
    if (!statSync(path).isFile()) continue
    const descriptor = openSync(path, 'r+')
    fsyncSync(descriptor)
    closeSync(descriptor)
  }
}

/** Appends blocks one by one, and leaves the feed open. */
export async function appendTo(create: CreateFeed, job: AppendJob): Promise<void> {
  const feed = create(job.dir, null, {})
  await call((callback) => feed.ready(callback))
  const run = new BlockRun(job.blockSize, job.blocks)
  run.moveTo(feed.length)
  await pump(job.blocks, 1, (position, callback) => feed.append(run.blocks[position]!, callback))
}
