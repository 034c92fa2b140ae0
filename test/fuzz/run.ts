/**
 * Long runs of the fuzzers. Each run has a seed, which is printed if it fails:
 *
 *     npm run fuzz                                        all targets in turn, until it is stopped
 *     npm run fuzz -- files                               one target: wire, files, arguments, connected, sessions, faults, mixed or turns
 *     npm run fuzz -- files 600                           for ten minutes
 *     DDATABASE_SEED=123 npm run fuzz -- files            that seed alone
 *     DDATABASE_SEED=123 DDATABASE_RUNS=5000 npm run fuzz -- files
 */
import { fuzzArguments } from './arguments.ts'
import { fuzzConnected } from './connected.ts'
import { fuzzFaults } from './faults.ts'
import { fuzzFiles } from './files.ts'
import { fuzzMixed, RARE as RARE_IN_MIXED } from './mixed.ts'
import { type Outcome, type Rarities, tooOften } from './outcome.ts'
import { fuzzSessions } from './sessions.ts'
import { fuzzTurns, RARE } from './turns.ts'
import { fuzzWire } from './wire.ts'

const TARGETS: Record<string, (seed: number) => Promise<Outcome>> = {
  wire: fuzzWire,
  files: fuzzFiles,
  arguments: fuzzArguments,
  connected: fuzzConnected,
  sessions: fuzzSessions,
  faults: fuzzFaults,
  mixed: fuzzMixed,
  turns: fuzzTurns
}
// What only few runs of a target may come to.
const RARITIES: Record<string, Rarities> = { mixed: RARE_IN_MIXED, turns: RARE }
// Seeds that one target gets before the next one has its turn.
const TURN = 50
const REPORT = 500

async function main(args: readonly string[]): Promise<void> {
  const { DDATABASE_SEED: given, DDATABASE_RUNS: wanted } = process.env
  const names = args.filter((arg) => arg in TARGETS)
  const time = args.find((arg) => /^[0-9]+$/.test(arg))
  const unknown = args.find((arg) => !(arg in TARGETS) && arg !== time)
  if (unknown !== undefined) throw new Error(`"${unknown}" is none of ${Object.keys(TARGETS).join(', ')}`)
  const targets = names.length > 0 ? names : Object.keys(TARGETS)
  const first = given ? Number(given) : Math.floor(Math.random() * 2 ** 31)
  const runs = wanted ? Number(wanted) : given ? 1 : Number.POSITIVE_INFINITY
  const end = time === undefined ? Number.POSITIVE_INFINITY : Date.now() + 1000 * Number(time)
  console.log(`${targets.join(', ')} from seed ${first} on`)

  const codes = new Map(targets.map((name) => [name, new Map<string, number>()]))
  let failures = 0
  let done = 0
  for (; done < runs && Date.now() < end; done += TURN) {
    for (const name of targets) {
      for (let i = done; i < Math.min(runs, done + TURN) && Date.now() < end; i++) {
        const { seed, code, problems } = await TARGETS[name]!(first + i)
        const counts = codes.get(name)!
        counts.set(code, (counts.get(code) ?? 0) + 1)
        if (problems.length === 0) continue
        console.log(`DDATABASE_SEED=${seed} npm run fuzz -- ${name}\n${problems.join('\n')}`)
        failures++
      }
    }
    if ((done + TURN) % REPORT === 0) report(codes)
  }
  report(codes)
  const excesses = targets.flatMap((name) => tooOften(codes.get(name)!, RARITIES[name]))
  for (const excess of excesses) console.log(`too little is tested: ${excess}`)
  console.log(failures === 0 ? 'nothing was found' : `${failures} seeds failed`)
  process.exit(failures === 0 && excesses.length === 0 ? 0 : 1)
}

function report(codes: ReadonlyMap<string, ReadonlyMap<string, number>>): void {
  for (const [name, counts] of codes) {
    const runs = [...counts.values()].reduce((sum, count) => sum + count, 0)
    console.log(`${name}: ${runs} runs, ${JSON.stringify(Object.fromEntries(counts))}`)
  }
}

void main(process.argv.slice(2))
