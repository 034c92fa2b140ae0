import { markdownTable } from 'markdown-table'
import type { Figures, Results, RowResult } from './results.ts'
import type { Spread } from './statistics.ts'
import { baseline, ours, subjectNamed } from './subjects.ts'

/** In place of a figure of a subject that cannot do the work of a row. */
const absent = '–'

/** The results as Markdown: the machine, a table of rates and ratios, and the figures behind it. */
export function toMarkdown(results: Results): string {
  const all = Object.keys(results.versions)
  const pairs = all.filter((name) => subjectNamed(name).source !== undefined)
  const names = all.filter((name) => !pairs.includes(name))
  return [
    '# Benchmark results',
    '',
    ...machineLines(results),
    '',
    ...table(['work', ...names, ...comparisons(names).map(comparisonTitle)], results.rows.map(rateCells)),
    '',
    ...(pairs.length === 0 ? [] : pairLines()),
    '## Time and memory',
    '',
    `Per operation. Peak: highest resident memory of the whole process in the timed part (${peakMethod(results)}); ` +
      `about ${baseMemory(results)} MB of it is Node.js before the subject is loaded.`,
    '',
    ...table(
      ['work', 'subject', 'wall µs', 'CPU µs', `CPU ÷ ${baseline}`, 'peak MB', `peak − ${baseline}`],
      results.rows.flatMap(detailCells)
    ),
    ''
  ].join('\n')

  function rateCells(row: RowResult): string[] {
    const compared = comparisons(names).map(
      ([over, under]) => ratio(figuresOf(row, over)?.rateOver[under]) || absent
    )
    return [row.title, ...names.map((name) => rate(row, name)), ...compared]
  }

  function pairLines(): string[] {
    const ends = names.filter((name) => name === baseline || name === ours)
    const compared = [ours, ...pairs].filter((name) => name in results.versions)
    return [
      '## Mixed pairs',
      '',
      'The first named end has the blocks, the other one downloads them. Ratios are to the same work between two published ends.',
      '',
      ...table(
        ['work', ...ends, ...pairs, ...compared.map((name) => `${name} ÷ ${baseline}`)],
        results.rows
          .filter((row) => row.subjects.some(({ subject }) => pairs.includes(subject)))
          .map((row) => [
            row.title,
            ...[...ends, ...pairs].map((name) => rate(row, name)),
            ...compared.map((name) => ratio(figuresOf(row, name)?.rateOver[baseline]))
          ])
      ),
      ''
    ]
  }

  function detailCells(row: RowResult): string[][] {
    const reference = figuresOf(row, baseline)
    return row.subjects.map(({ subject, figures, error }) => {
      if (!figures)
        return [row.name, subject, `failed: ${(error ?? '').replaceAll('|', '/')}`, '', '', '', '']
      const above = reference && subject !== baseline ? signed(figures.peak - reference.peak) : ''
      return [
        row.name,
        subject,
        number(figures.wall),
        number(figures.cpu),
        ratio(figures.cpuOver[baseline]),
        figures.peak.toFixed(0),
        above
      ]
    })
  }
}

/** Which pairs get a column of ratios: ours over each relative or, without ours, each relative over the baseline. */
function comparisons(names: readonly string[]): [over: string, under: string][] {
  if (names.includes(ours)) return names.filter((name) => name !== ours).map((name) => [ours, name])
  if (!names.includes(baseline)) return []
  return names.filter((name) => name !== baseline).map((name) => [name, baseline])
}

function comparisonTitle([over, under]: [string, string]): string {
  return `${over} ÷ ${under}`
}

function machineLines({ machine, versions, profile }: Results): string[] {
  const subjects = Object.entries(versions).map(([name, version]) => `${name}: ${version}`)
  const smoke =
    profile.name === 'smoke' ? ['**Smoke run: feeds are tiny, the figures mean nothing.**', ''] : []
  return [
    ...smoke,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory} GB; ${machine.system}; Node.js ${machine.node}.`,
    `${subjects.join('; ')}.`,
    '',
    `Profile \`${profile.name}\`: each figure is the median of ${profile.rounds} processes of at least ${profile.timed} s ` +
      'of timed work each, the subjects in the order A B B A; a ratio is the median over the rounds (least to greatest). ' +
      'Rates: greater is better; latencies in µs: smaller is better. Ratios are always ratios of speed. MB are 10^6 bytes.'
  ]
}

function peakMethod({ rows }: Results): string {
  const methods = rows.flatMap((row) => row.subjects.flatMap((one) => one.figures?.rounds ?? []))
  return [...new Set(methods.map((one) => one.peakMethod))].join(', ')
}

function baseMemory({ rows }: Results): string {
  const bases = rows.flatMap((row) => row.subjects.flatMap((one) => one.figures?.base ?? []))
  return bases.length === 0 ? '?' : Math.min(...bases).toFixed(0)
}

function rate(row: RowResult, name: string): string {
  const measured = row.subjects.find(({ subject }) => subject === name)
  if (!measured) return absent
  return measured.figures ? `${number(measured.figures.rate.median)} ${row.unit}` : 'failed'
}

function figuresOf(row: RowResult, name: string): Figures | undefined {
  return row.subjects.find(({ subject }) => subject === name)?.figures
}

function table(titles: readonly string[], lines: readonly string[][]): string[] {
  return [markdownTable([titles, ...lines], { align: titles.map((_, column) => (column === 0 ? '' : 'r')) })]
}

/** Three digits: 3.14, 31.4, 314, 3140, 31.4k, 314k, 3.14M. */
function number(value: number): string {
  if (value >= 999_500) return `${(value / 1e6).toPrecision(3)}M`
  if (value >= 10_000) return `${Number((value / 1e3).toPrecision(3))}k`
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

function ratio(values: Spread | undefined): string {
  if (!values) return ''
  return `${values.median.toFixed(2)} (${values.min.toFixed(2)}–${values.max.toFixed(2)})`
}

function signed(value: number): string {
  return value < 0 ? `−${(-value).toFixed(0)}` : `+${value.toFixed(0)}`
}
