import { DDatabaseError } from '../errors.ts'
import { type SignalOption, throwIfAborted } from '../util/abort.ts'
import { nextTurn } from '../util/turn.ts'
import type { Core } from './core.ts'
import { readAll, storedHolds, storedRunHolds } from './reader.ts'

/** What `audit` found. */
export interface AuditReport {
  /** Blocks whose bytes match the tree. */
  valid: number
  /** Blocks that did not, or could not be read; they are not here any more. */
  invalid: number
}

/** What ends an audit early. */
export interface AuditEnd {
  readonly signal: SignalOption
  /** Whether the feed is closing: what cannot be read any more is not damaged. */
  closed(): boolean
  /** Blocks, ascending, are forgotten. */
  forgotten(blocks: readonly number[]): void
}

/**
 * Compares every block that is here with its hash and forgets those that differ or cannot be read. Reads runs of
 * blocks and lets the event loop have its turn in between.
 * @param end - looked at between runs, and for the last time before anything is changed
 * Errors: `ERR_STORAGE` (writing the changed bits), `ERR_WRITE_REFUSED`, `ERR_REQUEST_CANCELLED`, `ERR_FEED_CLOSED`.
 */
export async function auditFeed(core: Core, end: AuditEnd): Promise<AuditReport> {
  const report: AuditReport = { valid: 0, invalid: 0 }
  const invalid: number[] = []
  throwIfEnded(end)
  for await (const run of readAll(core)) {
    const whole = await storedRunHolds(core, run)
    throwIfEnded(end)
    for (let block = run.start; block < run.end; block++) {
      if (whole[block - run.start]) report.valid++
      else invalid.push(block)
    }
    await nextTurn()
    throwIfEnded(end)
  }
  if (invalid.length > 0) report.invalid = await core.change(() => forget(core, invalid, end))
  return report
}

/** Errors: `ERR_REQUEST_CANCELLED`, `ERR_FEED_CLOSED`. */
export function throwIfEnded({ signal, closed }: Pick<AuditEnd, 'signal' | 'closed'>): void {
  throwIfAborted(signal)
  if (closed()) throw new DDatabaseError('ERR_FEED_CLOSED')
}

/** Clears the bits of those blocks that still do not match: the feed may have changed since they were checked. */
async function forget(core: Core, blocks: readonly number[], end: AuditEnd): Promise<number> {
  const stage = core.stage()
  const forgotten: number[] = []
  for (const block of blocks) {
    if (block >= core.length || (await storedHolds(core, block))) continue
    throwIfEnded(end)
    if (stage.bits.set(block, false)) forgotten.push(block)
    core.storage.blocks?.delete(block)
  }
  throwIfEnded(end)
  await core.commit({}, stage)
  core.removals++
  for (const block of forgotten) core.verified?.forget(block, block + 1)
  end.forgotten(forgotten)
  return forgotten.length
}
