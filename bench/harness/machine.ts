import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, platform, release, totalmem } from 'node:os'

/** What the figures depend on besides the code. */
export interface Machine {
  readonly cpu: string
  /** Processors this process may use. */
  readonly cores: number
  /** Gigabytes of memory. */
  readonly memory: number
  readonly system: string
  readonly node: string
}

/** Describes the machine this process runs on. */
export function describeMachine(): Machine {
  return {
    cpu: cpuModel(),
    cores: availableParallelism(),
    memory: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()}`,
    node: process.version
  }
}

// libuv reads only part of what Linux tells and then answers "unknown".
function cpuModel(): string {
  const model = cpus()[0]?.model.trim() ?? ''
  if (model !== '' && model !== 'unknown') return model
  try {
    return /^model name\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? process.arch
  } catch {
    return process.arch
  }
}
