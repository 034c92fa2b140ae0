import { type PeakMethod, watchPeak } from './memory.ts'
import type { Work } from './row.ts'
import { quantile } from './statistics.ts'

/** What one process found out about one row and subject. */
export interface Measurement {
  /** Operations completed in the timed part. */
  readonly operations: number
  /** Seconds of wall time in the timed steps. */
  readonly wall: number
  /** Seconds of processor time (user and system, all threads, a helper's too) in the timed steps. */
  readonly cpu: number
  /** Peak resident memory from the start of the timed part to its end, in bytes; of two processes, the sum. */
  readonly peak: number
  readonly peakMethod: PeakMethod
  /** Resident memory before the subject was loaded, in bytes. */
  readonly base: number
  /** Seconds, for rows with a quantile. */
  readonly latency?: number
}

/**
 * Warms up for at least `warm` seconds, then repeats the work until its steps took `timed` seconds. A step is
 * never cut short, so what it leaves in flight is not counted as done.
 *
 * @param reported - the quantile of the latencies that is reported, if any
 */
export async function measure(
  work: Work,
  warm: number,
  timed: number,
  base: number,
  reported?: number
): Promise<Measurement> {
  // Garbage of loading belongs to neither the time nor the memory of what follows. Not collected again after the warm-up: that
  // throws away compiled code, and the first second of the timed part would be one of compiling.
  globalThis.gc?.()
  for (let spent = 0; spent === 0 || (spent < warm && work.maxSteps === undefined); ) {
    await work.prepare?.()
    const start = performance.now()
    await work.step()
    spent += (performance.now() - start) / 1000
  }

  await work.helper?.watch()
  if (work.latencies) work.latencies.length = 0
  const watch = watchPeak()
  let operations = 0
  let wall = 0
  let cpu = 0
  for (let steps = 0; wall < timed && steps < (work.maxSteps ?? Number.POSITIVE_INFINITY); steps++) {
    await work.prepare?.()
    const usedByHelper = (await work.helper?.usage())?.cpu ?? 0
    const used = process.cpuUsage()
    const start = performance.now()
    operations += await work.step()
    wall += (performance.now() - start) / 1000
    const { user, system } = process.cpuUsage(used)
    cpu += (user + system) / 1e6 + ((await work.helper?.usage())?.cpu ?? 0) - usedByHelper
  }
  return {
    operations,
    wall,
    cpu,
    peak: watch.highest() + ((await work.helper?.usage())?.peak ?? 0),
    peakMethod: watch.method,
    base: base + (work.helper?.base ?? 0),
    ...(reported !== undefined && { latency: quantile(work.latencies!, reported) })
  }
}
