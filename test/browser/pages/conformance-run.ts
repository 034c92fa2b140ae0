/** Runs the suite of all storages on the origin private file system, in a page or in a worker. */
import { originPrivateStorage } from '../../../src/storage/opfs/storage.ts'
import { type CheckResult, CONFORMANCE, type StorageTraits } from '../../storage/conformance.ts'
import { listing } from './opfs.ts'

/** The results of each test of the suite. */
export async function runConformance(
  where: 'page' | 'worker',
  options: { sync?: boolean } = {}
): Promise<Record<string, CheckResult[]>> {
  const traits: StorageTraits = {
    name: 'origin private file system',
    persistent: true,
    complete: true,
    immediate: where === 'worker' && options.sync !== false,
    strict: true
  }
  const out: Record<string, CheckResult[]> = {}
  for (const { name, run } of CONFORMANCE) {
    const results: CheckResult[] = []
    const note = (ok: boolean, message: string) => results.push({ ok, message })
    const folder = `conformance/${crypto.randomUUID()}`
    const checks = {
      equal: (actual: unknown, expected: unknown, message = 'equal') =>
        note(Object.is(actual, expected), `${message}: ${String(actual)}, expected ${String(expected)}`),
      ok: (value: unknown, message = 'true') => note(Boolean(value), message),
      notOk: (value: unknown, message = 'false') => note(!value, message)
    }
    try {
      await run(checks, traits, {
        create: () => originPrivateStorage(folder, options)('data', {}),
        stored: async () => (await listing(folder))?.data !== undefined
      })
    } catch (error) {
      note(false, String(error))
    }
    out[name] = results
  }
  return out
}
