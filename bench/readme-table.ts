/**
 * Puts the figures of the last complete run (`npm run bench -- --full`, bench/results.json) into the table of
 * README.md: `node --import tsx bench/readme-table.ts`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { markdownTable } from 'markdown-table'
import type { Results } from './harness/results.ts'
import { baseline, ours } from './harness/subjects.ts'

const BEGIN = '<!-- speed: written by bench/readme-table.ts -->'
const END = '<!-- /speed -->'

/** Rows of the benchmark that the README has, and what it calls them. */
const WORK: Readonly<Record<string, string>> = {
  'append-one-512': 'append 512 B blocks one by one, each awaited',
  'append-batch-64k': 'append batches of 128 blocks of 64 KB',
  'get-random-512': 'get 512 B blocks at random, 16 at a time',
  'read-stream-512': 'read stream of 512 B blocks',
  'proof-random-200k': 'proofs of random blocks of 200,000',
  'audit-16k': 'audit, 16 KB blocks',
  'replicate-memory-512': 'replicate from disk to disk, 512 B blocks',
  'remote-get-512': 'sparse get from a peer over TCP, 512 B blocks'
}

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

/** `1.35×`, `2.5×`, `41×`. */
function times(ratio: number): string {
  return `${Number(ratio.toFixed(ratio < 2 ? 2 : ratio < 10 ? 1 : 0))}×`
}

const { rows } = JSON.parse(read('results.json')) as Results
const lines = Object.entries(WORK).map(([name, work]) => {
  const row = rows.find((one) => one.name === name)
  const figures = row?.subjects.find(({ subject }) => subject === ours)?.figures
  const ratio = figures?.rateOver[baseline]
  if (ratio === undefined) throw new Error(`There is no figure for ${name}`)
  return [work, times(ratio.median)]
})
const table = markdownTable([['work', 'speed of `ddatabase` 10.0.4'], ...lines], { align: ['', 'r'] })

const readme = read('../README.md')
const begin = readme.indexOf(BEGIN)
const end = readme.indexOf(END)
if (begin === -1 || end < begin) throw new Error('README.md has no place for the table')
const changed = `${readme.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${readme.slice(end)}`
writeFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), changed)
