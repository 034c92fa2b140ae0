/**
 * The long run of the crash tests (docs/reliability.md): 2,500 crashes on simulated disks of each kind, and stories that are cut
 * off at every moment; then two hundred kills of a real process in each of its surroundings. Takes half an hour. The environment
 * variables of the tests (`CRASH_STORIES`, `CRASH_COUNT`, `CRASH_LONG_COUNT`, `CRASH_EVERY`, `CRASH_EVERY_STEPS`, `CRASH_KILLS`, `CRASH_SEED`) say
 * otherwise. The published package goes through the same with `published.ts` and `published-kills.ts` beside this file.
 */
import { spawnSync } from 'node:child_process'

const seed = process.env.CRASH_SEED ?? String(Date.now() % 1_000_000)
const env = {
  CRASH_STORIES: '100',
  CRASH_COUNT: '25',
  CRASH_LONG_COUNT: '2',
  CRASH_EVERY: '10',
  CRASH_EVERY_STEPS: '12',
  CRASH_KILLS: '200',
  ...process.env,
  CRASH_SEED: seed
}
console.log(`# CRASH_SEED=${seed}`)
const { status } = spawnSync(
  process.execPath,
  ['--import', 'tsx', 'node_modules/tape/bin/tape', 'test/crash/*.test.ts'],
  { stdio: 'inherit', env }
)
process.exitCode = status ?? 1
