/** Times this package beside the published ones: see README.md in this folder. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, parseCommand, usage } from './harness/command.ts'
import { compileBenchmark } from './harness/compile.ts'
import { makeRunFolder, removeFolder } from './harness/folder.ts'
import { describeMachine } from './harness/machine.ts'
import { toMarkdown } from './harness/report.ts'
import type { Results } from './harness/results.ts'
import { Schedule } from './harness/schedule.ts'
import { subjects } from './harness/subjects.ts'
import { rows } from './rows/index.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..')

async function compare(command: Command): Promise<Results> {
  const versions: Record<string, string> = {}
  for (const { name, version } of command.subjects) {
    const found = version(root)
    if (found === null) console.error(`${name} is not installed or not built; left out.`)
    else versions[name] = found
  }
  const present = command.subjects.filter(({ name }) => name in versions)
  if (present.length === 0) throw new Error('There is nothing to measure')

  const folder = makeRunFolder(command.dir, command.profile.name === 'smoke')
  const interrupted = () => {
    removeFolder(folder)
    process.exit(130)
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const schedule = new Schedule({
      root,
      folder,
      program: compileBenchmark(here, join(folder, 'program')),
      profile: command.profile,
      subjects: present,
      progress: (text) => console.error(text)
    })
    const measured = []
    for (const row of command.rows) measured.push(await schedule.run(row))
    return { profile: command.profile, machine: describeMachine(), versions, rows: measured }
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    removeFolder(folder)
  }
}

async function main(): Promise<void> {
  const command = parseCommand(process.argv.slice(2))
  if (command.help) return console.log(usage)
  if (command.list) {
    for (const { name, title } of rows) console.log(`${name.padEnd(28)} ${title}`)
    return console.log(`\nsubjects: ${subjects.map(({ name }) => name).join(', ')}`)
  }

  const results = await compare(command)
  const markdown = toMarkdown(results)
  const json = `${JSON.stringify(results, null, 2)}\n`
  console.log(markdown)
  if (command.json !== undefined) writeFileSync(command.json, json)
  if (command.complete && command.profile.name !== 'smoke') {
    writeFileSync(join(here, 'RESULTS.md'), markdown)
    writeFileSync(join(here, 'results.json'), json)
  }

  const failed = results.rows.flatMap(({ name, subjects }) =>
    subjects.flatMap(({ subject, error }) => (error === undefined ? [] : [`${name}, ${subject}: ${error}`]))
  )
  for (const line of failed) console.error(`failed: ${line}`)
  if (failed.length > 0) process.exitCode = 1
}

main().catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
