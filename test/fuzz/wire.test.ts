/** A short run of the fuzzer of the wire; `npm run fuzz` makes long ones. The seeds of failures are kept below. */
import test from 'tape'
import { runsFromEnvironment, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { fuzz } from './wire.ts'

// What once failed: a seek that did not wait had asked all the same; a hash that came late was taken for an answer.
const FOUND = [180, 2472]

const FIRST_SEED = seedFromEnvironment(1)
const RUNS = runsFromEnvironment(120)

test('fuzz: hostile messages and handshakes beside an honest peer', async (t) => {
  const codes = new Map<string, number>()
  const seeds = [...FOUND, ...Array.from({ length: RUNS }, (_, i) => FIRST_SEED + i)]
  for (const seed of seeds) {
    const { code, problems } = await fuzz(seed)
    codes.set(code, (codes.get(code) ?? 0) + 1)
    if (problems.length > 0) t.fail(`DDATABASE_SEED=${seed} fails:\n${problems.join('\n')}`)
  }
  t.pass(`seeds ${FIRST_SEED} … ${FIRST_SEED + RUNS - 1}: ${JSON.stringify([...codes])}`)
  t.end()
})
