/** What one test (all sections of one name) of a TAP run gave. */
export interface TestCount {
  /** Assertions that held. */
  passed: number
  /** Assertions that did not. */
  failed: number
}

/** A TAP run, by test name in order of appearance. */
export interface TapRun {
  tests: Map<string, TestCount>
  /** The failing lines, for the reader of the report. */
  failures: string[]
  /** Whether the plan line at the end was reached: without it the process crashed or was stopped. */
  complete: boolean
}

/**
 * Reads the TAP text that tape prints: `# name` opens a section, `ok` and `not ok` lines belong to the last one
 * opened, `1..n` ends the run. A name that comes twice is counted as one test.
 */
export function parseTap(text: string): TapRun {
  const run: TapRun = { tests: new Map(), failures: [], complete: false }
  let name = ''
  for (const line of text.split('\n')) {
    if (/^1\.\.\d+\s*$/.test(line)) {
      run.complete = true
      break
    }
    const section = /^# (.*)$/.exec(line)
    if (section) {
      name = section[1]!
      if (!run.tests.has(name)) run.tests.set(name, { passed: 0, failed: 0 })
      continue
    }
    const assertion = /^(not )?ok \d+/.exec(line)
    if (!assertion) continue
    const count = run.tests.get(name) ?? { passed: 0, failed: 0 }
    if (assertion[1]) {
      count.failed++
      run.failures.push(`${name}: ${line}`)
    } else {
      count.passed++
    }
    run.tests.set(name, count)
  }
  return run
}
