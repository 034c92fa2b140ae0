import { constants, createReadStream, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'

/**
 * The bytes of a file, or of a pipe that has a name. Opened and read as a file, a pipe without a writer would be waited for in a thread,
 * which no signal ends, and which keeps the process from ending.
 */
export async function inputOf(file: string, bytesAtOnce?: number): Promise<Readable> {
  if (!(await stat(file)).isFIFO()) return createReadStream(file, { highWaterMark: bytesAtOnce })
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  return new Socket({ fd, readable: true, writable: false })
}
