import type { TapRun, TestCount } from './tap.ts'

/** What the original itself gives for one file, by test name. */
export type FileBaseline = Record<string, TestCount>

/** Tests that need a part of the library which is not built yet. */
export interface NotYet {
  /** Files in which every test is of that kind. */
  files: string[]
  /** Single tests of the other files: file to test names. */
  tests: Record<string, string[]>
}

/** What is to be compared. */
export interface FileRun {
  file: string
  run: TapRun
  /** Why the process is held not to have finished by itself, or null. */
  stopped: string | null
  skipped: ReadonlySet<string>
}

/**
 * Everything in which a run is worse than the original: a process that crashed or hung, a test with more
 * failing or fewer passing assertions, a test that did not run. Empty when the run is as good.
 */
export function judge({ file, run, stopped, skipped }: FileRun, baseline: FileBaseline): string[] {
  const problems: string[] = []
  const finished = stopped === null && run.complete
  if (!finished) problems.push(`${file}: ${stopped ?? 'ended without a TAP plan'}`)
  for (const [name, expected] of Object.entries(baseline)) {
    if (skipped.has(name)) continue
    const actual = run.tests.get(name)
    if (actual && actual.failed > expected.failed) {
      problems.push(`${file}: "${name}" fails ${actual.failed} assertions, the original ${expected.failed}`)
    } else if (finished && !actual) {
      problems.push(`${file}: "${name}" did not run`)
    } else if (finished && actual && expected.failed === 0 && actual.passed < expected.passed) {
      // Where the original fails, what else it asserts on the way says nothing.
      problems.push(`${file}: "${name}" passes ${actual.passed} assertions, the original ${expected.passed}`)
    }
  }
  for (const [name, actual] of run.tests) {
    if (!(name in baseline) && actual.failed > 0) problems.push(`${file}: "${name}" fails`)
  }
  return problems
}

/** Names of the top level tests of a test file with the text of each, in order. */
export function testBodies(source: string): { name: string; body: string }[] {
  const starts = [...source.matchAll(/^ *tape\('((?:[^'\\]|\\.)*)'/gm)]
  return starts.map((start, i) => ({
    name: start[1]!,
    body: source.slice(start.index, starts[i + 1]?.index ?? source.length)
  }))
}

/**
 * Checks the list of tests not yet applicable against the test files, so that nothing else can hide in it: a
 * listed test must exist, and its text must call `replicate`.
 *
 * @param sources - file name to text
 * @returns one line for each wrong entry
 */
export function checkNotYet(notYet: NotYet, sources: ReadonlyMap<string, string>): string[] {
  const problems: string[] = []
  const check = (file: string, select: (name: string) => boolean) => {
    for (const { name, body } of testBodies(sources.get(file) ?? '')) {
      if (select(name) && !/\breplicate\(/.test(body)) {
        problems.push(`${file}: "${name}" does not replicate, so it must be run`)
      }
    }
  }
  for (const file of notYet.files) {
    if (!sources.has(file)) problems.push(`${file}: no such file`)
    check(file, () => true)
  }
  for (const [file, names] of Object.entries(notYet.tests)) {
    const known = new Set(testBodies(sources.get(file) ?? '').map(({ name }) => name))
    for (const name of names) {
      if (!known.has(name)) problems.push(`${file}: there is no test "${name}"`)
    }
    check(file, (name) => names.includes(name))
  }
  return problems
}
