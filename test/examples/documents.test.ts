/** What the documents say about errors and about each other. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { DEFAULT_LIMITS } from '../../src/replication/limits.ts'

const DOCUMENTS = [
  'README.md',
  'UPGRADING.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'bench/README.md',
  'docs/design.md',
  'docs/errors.md',
  'docs/protocol.md'
]

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

/** The headings of a document, as links name them. */
function anchors(path: string): string[] {
  return [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-')
  )
}

/** All codes of src/errors.ts: the keys of its table, and those of wrong arguments. */
function codes(): string[] {
  const source = read('src/errors.ts')
  const table = /^const MESSAGES = \{$(.*?)^\} as const$/ms.exec(source)?.[1] ?? ''
  const known = [...table.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, code]) => code!)
  const argument = /^export type ArgumentErrorCode = (.*)$/m.exec(source)?.[1] ?? ''
  return [...known, ...[...argument.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code!)]
}

test('documents: docs/errors.md has a row for each error code, and no other', (t) => {
  const rows = read('docs/errors.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
  const told = rows.map((row) => /^\| `([A-Z_]+)` +\|/.exec(row)?.[1] ?? row)
  t.ok(codes().length > 60, 'the codes were found')
  t.same(told.toSorted(), codes().toSorted())
  for (const row of rows) {
    const cells = row.split(' | ')
    if (cells.length !== 3 || cells.some((cell) => cell.replace(/[|\s]/g, '') === ''))
      t.fail(`incomplete: ${row}`)
  }
  t.end()
})

test('documents: mention only error codes that exist', (t) => {
  const known = new Set(codes())
  for (const path of DOCUMENTS) {
    const mentioned = [...read(path).matchAll(/\b(?:ERR_[A-Z_]+|E(?:LOCKED|CANCELED|TIMEDOUT))\b/g)].map(
      ([code]) => code
    )
    t.same(
      mentioned.filter((code) => !known.has(code)),
      [],
      path
    )
  }
  t.end()
})

test('documents: their links lead somewhere', (t) => {
  let links = 0
  for (const path of DOCUMENTS) {
    for (const [, target, anchor] of read(path).matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      if (/^https?:/.test(target!)) continue
      links++
      const linked = target === '' ? path : `${dirname(path)}/${target}`
      const exists = existsSync(fileURLToPath(new URL(`../../${linked}`, import.meta.url)))
      t.ok(exists, `${path}: ${target}`)
      if (exists && anchor !== undefined)
        t.ok(anchors(linked).includes(anchor), `${path}: ${target}#${anchor}`)
    }
  }
  t.ok(links > 5, 'there are links')
  t.end()
})

test('documents: docs/design.md has a reason for each dependency', (t) => {
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const section = read('docs/design.md').split('## Dependencies')[1] ?? ''
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    t.ok(section.includes(`\n| \`${name}\` `), name)
  }
  t.end()
})

/** `8 MiB`, `2^24`, `65,535` as numbers. */
function amount(text: string): number {
  const [, number, unit] = /^([\d,^]+)(?: (KiB|MiB))?$/.exec(text) ?? []
  const [base, exponent] = (number ?? '').replaceAll(',', '').split('^').map(Number)
  return base! ** (exponent ?? 1) * { '': 1, KiB: 1024, MiB: 1024 ** 2 }[unit ?? '']!
}

test('documents: SECURITY.md has each limit with its default', (t) => {
  const rows = read('SECURITY.md')
    .split('\n## Limits\n')[1]!
    .matchAll(/^\| `(\w+)` +\| ([^|]*?) +\|/gm)
  t.same(Object.fromEntries([...rows].map(([, name, value]) => [name, amount(value!)])), {
    ...DEFAULT_LIMITS
  })
  t.end()
})
