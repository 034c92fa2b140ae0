/** Storages that take their time: operations that are begun together are done in any order. */
import type { MemoryFiles } from './memory-files.ts'
import type { SeededRandom } from './seeded-random.ts'

const OPERATIONS = ['read', 'write', 'del', 'truncate', 'stat', 'close', 'unlink']
// Turns of the event loop before an operation is done.
const MOST_TURNS = 3

type Method = (...args: unknown[]) => void

/** Storages on these files; some of them cannot tell how much they have. */
export function slowStorage(files: MemoryFiles, random: SeededRandom): (name: string) => object {
  const make = files.factory()
  const statable = random.chance(0.6)
  return (name) => {
    const raw = make(name) as unknown as Record<string, Method>
    const slow = (operation: string): Method => {
      return (...args) => {
        const wait = (turns: number): void => {
          if (turns > 0) setImmediate(wait, turns - 1)
          else raw[operation]!(...args)
        }
        wait(random.between(0, MOST_TURNS))
      }
    }
    return { statable, ...Object.fromEntries(OPERATIONS.map((operation) => [operation, slow(operation)])) }
  }
}
