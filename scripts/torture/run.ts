/**
 * The long run of the crash tests (docs/reliability.md): every plan on simulated disks with 2,000 crashes and more, and two
 * hundred kills of a real process in each of its surroundings. Takes some ten minutes. The environment variables of the tests
 * (`CRASH_STORIES`, `CRASH_COUNT`, `CRASH_KILLS`, `CRASH_SEED`) say otherwise.
 */
import { spawnSync } from 'node:child_process'

const seed = process.env.CRASH_SEED ?? String(Date.now() % 1_000_000)
const env = { CRASH_STORIES: '100', CRASH_COUNT: '25', CRASH_KILLS: '200', ...process.env, CRASH_SEED: seed }
console.log(`# CRASH_SEED=${seed}`)
const { status } = spawnSync(
  process.execPath,
  ['--import', 'tsx', 'node_modules/tape/bin/tape', 'test/crash/*.test.ts'],
  { stdio: 'inherit', env }
)
process.exitCode = status ?? 1
