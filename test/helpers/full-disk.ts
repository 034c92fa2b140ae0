import fs from 'node:fs'

type Write = (fd: number, ...rest: unknown[]) => unknown

/** While `run` is under way there is no space left for one file of this process, told by its path. Linux only. */
export async function onFullDisk(file: string, run: () => Promise<void>): Promise<void> {
  const { write, writev, writeSync } = fs
  const isFull = (fd: number): boolean => fs.readlinkSync(`/proc/self/fd/${fd}`) === file
  const full = (): Error =>
    Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' })
  const failing =
    (real: unknown): Write =>
    (fd, ...rest) => {
      if (!isFull(fd)) return (real as Write)(fd, ...rest)
      return process.nextTick(rest[rest.length - 1] as (error: Error) => void, full())
    }
  const failingSync: Write = (fd, ...rest) => {
    if (isFull(fd)) throw full()
    return (writeSync as Write)(fd, ...rest)
  }
  Object.assign(fs, { write: failing(write), writev: failing(writev), writeSync: failingSync })
  try {
    await run()
  } finally {
    Object.assign(fs, { write, writev, writeSync })
  }
}
