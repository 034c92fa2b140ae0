import test from 'tape'
import { checkNotYet, type FileBaseline, judge, testBodies } from '../../scripts/published/judge.ts'
import { parseTap } from '../../scripts/published/tap.ts'

const baseline: FileBaseline = { one: { passed: 2, failed: 0 }, two: { passed: 1, failed: 1 } }
const GOOD =
  'TAP version 13\n# one\nok 1 a\nok 2 b\n# two\nok 3 c\nnot ok 4 d\n  ---\n  ...\n\n1..4\n# tests 4\n'

function problems(text: string, skipped: string[] = [], stopped: string | null = null): string[] {
  return judge({ file: 'x.js', run: parseTap(text), stopped, skipped: new Set(skipped) }, baseline)
}

test('published harness: reads TAP by test name', async (t) => {
  const run = parseTap(GOOD)
  t.same([...run.tests], Object.entries(baseline), 'counts; the summary is no test')
  t.same(run.failures, ['two: not ok 4 d'])
  t.equal(run.complete, true)
  t.equal(parseTap(GOOD.replace('1..4', '')).complete, false)
})

test('published harness: as good as the original is good enough', async (t) => {
  t.same(problems(GOOD), [])
  t.same(problems(GOOD.replace('not ok 4', 'ok 4')), [], 'better too')
  t.same(problems('# one\nok 1 a\nok 2 b\n1..2\n', ['two']), [], 'a skipped test may be missing')
})

test('published harness: whatever is worse is a problem', async (t) => {
  t.equal(problems(GOOD.replace('ok 2', 'not ok 2')).length, 1, 'a failure beyond the baseline')
  t.equal(problems(GOOD.replace('ok 3 c', 'not ok 3 c')).length, 1, 'a further failure in a test that fails')
  t.equal(problems(GOOD.replace('ok 2 b\n', '')).length, 1, 'an assertion that was not made')
  t.equal(problems(GOOD.replace('# one\nok 1 a\nok 2 b\n', '')).length, 1, 'a test that did not run')
  t.equal(problems(GOOD.replace('1..4', '')).length, 1, 'a process that ended early')
  t.equal(problems(GOOD, [], 'killed').length, 1, 'a process that was stopped')
  t.equal(
    problems(GOOD.replace('1..4', '# three\nnot ok 5 e\n1..5')).length,
    1,
    'a failure in an unknown test'
  )
  t.ok(problems('').length > 0, 'nothing at all')
})

test('published harness: only tests that replicate can be put off', async (t) => {
  const source =
    "tape('local', function (t) {\n  t.end()\n})\n\ntape('remote', function (t) {\n  replicate(a, b)\n})\n"
  const sources = new Map([['x.js', source]])
  t.same(
    testBodies(source).map(({ name }) => name),
    ['local', 'remote']
  )
  t.same(checkNotYet({ files: [], tests: { 'x.js': ['remote'] } }, sources), [])
  t.equal(checkNotYet({ files: [], tests: { 'x.js': ['local'] } }, sources).length, 1, 'a local test')
  t.equal(checkNotYet({ files: [], tests: { 'x.js': ['other'] } }, sources).length, 1, 'an unknown test')
  t.equal(checkNotYet({ files: ['x.js'], tests: {} }, sources).length, 1, 'a file with a local test')
  t.equal(checkNotYet({ files: ['y.js'], tests: {} }, sources).length, 1, 'an unknown file')
})
