import { parseArgs } from 'node:util'
import { rowNamed, rows } from '../rows/index.ts'
import { full, type Profile, quick, smoke } from './profiles.ts'
import type { Row } from './row.ts'
import { type Subject, subjectNamed, subjects } from './subjects.ts'

export const usage = `Usage: npm run bench -- [options]

  --quick          2 rounds of 1.5 s, without the rows about growth (default, 10 to 15 minutes)
  --full           4 rounds of 1.5 s, all rows (45 minutes)
  --smoke          everything once and tiny; no figures are kept
  --row <name>     only this row (repeatable)
  --subject <name> only this subject (repeatable)
  --dir <folder>   where the feeds are written, on a disk; default: the system's temporary folder
  --json <file>    also write the JSON there
  --list           list rows and subjects

A run of all rows and subjects writes bench/RESULTS.md and bench/results.json, unless it is a smoke run.`

/** What the command line asks for. */
export interface Command {
  readonly profile: Profile
  readonly rows: readonly Row[]
  readonly subjects: readonly Subject[]
  /** Whether neither rows nor subjects were picked. */
  readonly complete: boolean
  readonly dir: string | undefined
  readonly json: string | undefined
  readonly help: boolean
  readonly list: boolean
}

/** Reads the command line. @throws {Error} for unknown options, rows and subjects. */
export function parseCommand(args: string[]): Command {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      smoke: { type: 'boolean', default: false },
      row: { type: 'string', multiple: true, default: [] },
      subject: { type: 'string', multiple: true, default: [] },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false }
    }
  })
  if (Number(values.quick) + Number(values.full) + Number(values.smoke) > 1) {
    throw new Error('Only one of --quick, --full and --smoke')
  }
  const profile = values.full ? full : values.smoke ? smoke : quick
  return {
    profile,
    rows:
      values.row.length > 0
        ? values.row.map(rowNamed)
        : rows.filter(({ profiles }) => profiles === undefined || profiles.includes(profile.name)),
    subjects:
      values.subject.length > 0
        ? values.subject.map(subjectNamed)
        : subjects.filter(({ onRequest }) => onRequest !== true),
    complete: values.row.length === 0 && values.subject.length === 0,
    dir: values.dir,
    json: values.json,
    help: values.help,
    list: values.list
  }
}
