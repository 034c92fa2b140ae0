/** Every error code can be got, by what is public, and has its row in docs/errors.md. */
import { readFile } from 'node:fs/promises'
import test from 'tape'
import { type ArgumentErrorCode, DDatabaseError, type ErrorCode } from '../../src/index.ts'
import { within } from '../helpers/watchdog.ts'
import { type Case, FEED_CASES } from './feed-cases.ts'
import { STREAM_CASES } from './stream-cases.ts'

// The compiler refuses a code without a case, and a case without a code.
const CASES: Record<ErrorCode | ArgumentErrorCode, Case> = { ...FEED_CASES, ...STREAM_CASES }

const ARGUMENTS: Record<ArgumentErrorCode, typeof TypeError | typeof RangeError> = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: TypeError,
  ERR_OUT_OF_RANGE: RangeError
}

for (const [code, run] of Object.entries(CASES)) {
  test(`errors: ${code}`, async (t) => {
    const error = await within(run(t), code)
    t.equal((error as { code?: unknown } | null)?.code, code, String(error))
    const Argument = ARGUMENTS[code as ArgumentErrorCode]
    if (Argument) t.ok(error instanceof Argument, Argument.name)
    else t.ok(DDatabaseError.is(error) && error instanceof DDatabaseError, 'a DDatabaseError')
    t.ok((error as Error).message.length > 0, 'with a text')
  })
}

async function textOf(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
}

test('errors: the cases are those of src/errors.ts', async (t) => {
  const source = await textOf('src/errors.ts')
  const table = source.slice(source.indexOf('const MESSAGES'), source.indexOf('as const'))
  const codes = [...table.matchAll(/^ {2}(E[A-Z_]+):/gm)].map(([, code]) => code!)
  t.ok(codes.length > 60, 'the table was found')
  t.same(Object.keys(CASES).sort(), [...codes, ...Object.keys(ARGUMENTS)].sort())
})

test('errors: docs/errors.md is one table with a row for each code, and tells when and what to do', async (t) => {
  const lines = (await textOf('docs/errors.md')).split('\n')
  const first = lines.findIndex((line) => line.startsWith('|'))
  const last = lines.findLastIndex((line) => line.startsWith('|'))
  const table = lines.slice(first, last + 1)
  t.same(
    table.filter((line) => !line.startsWith('|')),
    [],
    'one table'
  )
  const cells = table.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
  )
  t.same(cells[0], ['code', 'when', 'what to do'])
  const rows = cells.slice(2)
  t.same(
    rows.map(([code]) => code!.replaceAll('`', '')).sort(),
    Object.keys(CASES).sort(),
    'the codes, each once'
  )
  for (const row of rows) {
    const [code, when, advice] = row
    t.ok(row.length === 3 && when !== '' && advice !== '', code!)
  }
})
