import { readFileSync, writeFileSync } from 'node:fs'

/** How a peak was found: the kernel's high-water mark, set back at the start, or samples of the resident size. */
export type PeakMethod = 'high-water mark' | 'sampled'

/** A running watch over this process's resident memory. */
export interface PeakWatch {
  readonly method: PeakMethod
  /** The highest resident size since it began, in bytes. */
  highest(): number
}

/** Milliseconds between samples where there is no high-water mark. */
const samplingInterval = 5

/**
 * Begins to watch the peak of resident memory. `process.resourceUsage().maxRSS` would also count what loading
 * and preparing took; Linux can set the mark back to the present size, elsewhere the size is sampled.
 */
export function watchPeak(): PeakWatch {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
    highWaterMark()
    return { method: 'high-water mark', highest: highWaterMark }
  } catch {
    return samplePeak()
  }
}

function highWaterMark(): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  if (!line) throw new Error('No high-water mark')
  return Number(line[1]) * 1024
}

function samplePeak(): PeakWatch {
  let peak = process.memoryUsage.rss()
  setInterval(sample, samplingInterval).unref()
  function sample(): void {
    peak = Math.max(peak, process.memoryUsage.rss())
  }
  return {
    method: 'sampled',
    highest() {
      sample()
      return peak
    }
  }
}
