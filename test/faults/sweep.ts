/** Does one thing again and again, each time with the next storage operation failing. */
import assert from 'node:assert/strict'
import type { Test } from 'tape'
import { FAULT_MODES, type FaultMode, FaultPlan, isInjected } from '../helpers/faulty-storage.ts'

/** A try: arms `plan` at the right moment and checks everything. It ends with the plan disarmed. */
export type Attempt = (plan: FaultPlan, mode: FaultMode, n: number) => Promise<void>

/** Only the first few failures of a mode are told. */
const TOLD = 3

/**
 * Runs `attempt` with n = 1, 2, 3, … until the chosen operation never came, in every mode. The first round in which
 * nothing failed also proves that the thing works undisturbed.
 */
export async function sweep(
  t: Test,
  attempt: Attempt,
  modes: readonly FaultMode[] = FAULT_MODES
): Promise<void> {
  let faults = 0
  for (const mode of modes) {
    const failures: string[] = []
    let n = 1
    for (; ; n++) {
      const plan = new FaultPlan()
      try {
        await attempt(plan, mode, n)
      } catch (error) {
        const where = plan.injected === null ? 'no fault' : `fault in ${plan.where}`
        failures.push(`n = ${n} (${where}): ${(error as Error).stack}`)
      }
      if (plan.injected === null || failures.length === TOLD) break
    }
    faults += n - 1
    t.deepEqual(failures, [], `${mode}: ${n - 1} operations failed, one after the other`)
  }
  t.ok(faults > 0, 'storage was used at all')
}

/** Whether the disk stays gone, so that nothing can be undone. */
export function isDead(mode: FaultMode): boolean {
  return mode.startsWith('dead')
}

/** A rejection must say what happened: a stable code, and the disk's own error in its chain of causes. */
export function assertDiskError(error: unknown): void {
  assert.ok(error instanceof Error, 'rejected with an Error')
  assert.equal(typeof (error as { code?: unknown }).code, 'string', `a code on: ${error.stack}`)
  assert.notEqual((error as { code?: unknown }).code, '', 'a code')
  assert.ok(isInjected(error), `the disk's error in the chain of causes of: ${error.stack}`)
}

/** Whether a feed refuses writes because a failed one could not be undone. */
export function isRefusal(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ERR_WRITE_REFUSED'
}
