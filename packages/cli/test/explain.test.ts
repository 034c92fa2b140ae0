/** What is said of errors that are hard to come by. */
import test from 'tape'
import { explain } from '../src/explain.ts'

function failed(code: string, cause?: Error): Error {
  return Object.assign(new Error(`it said ${code}`, cause && { cause }), { code })
}

test('explain: the cause, where the error itself says little', (t) => {
  const named = explain(failed('ERR_CONNECT', failed('ENOTFOUND')), 'elsewhere:9')
  t.equal(named.message, 'There is no host of the name in elsewhere:9; check the address.')
  t.equal(named.exitCode, 5)
  const unknown = explain(failed('ERR_CONNECT', failed('EWHATEVER')), 'elsewhere:9')
  t.match(unknown.message, /^elsewhere:9 cannot be reached: it said ERR_CONNECT; check/)
  const lost = explain(failed('ERR_CONNECTION_LOST', failed('ECONNRESET')), 'elsewhere:9')
  const said = explain(Object.assign(new Error('a$b'), { code: 'ERR_CONNECT' }), 'elsewhere:9')
  t.match(said.message, /cannot be reached: a\$b; check/, 'a $ in a message')
  t.match(lost.message, /before it told who it is/, 'where it says more than its cause, it is told itself')
  t.end()
})

test('explain: what is in the way of files', (t) => {
  const sentences = {
    ENOSPC: [7, /^There is no space left for \/a; make some/],
    EDQUOT: [7, /^The quota for \/a is used up/],
    EFBIG: [7, /^A file of \/a would be larger/],
    EROFS: [7, /^\/a is on a file system that cannot be written to/],
    EIO: [7, /^The disk failed at \/a/],
    EACCES: [4, /^Access to \/a is denied/],
    EMFILE: [7, /^Too many files are open/]
  } as const
  for (const [code, [exitCode, sentence]] of Object.entries(sentences)) {
    const failure = explain(failed('ERR_STORAGE', failed(code)), '/a')
    t.equal(failure.exitCode, exitCode, code)
    t.match(failure.message, sentence)
  }
  const unexpected = explain(new TypeError('x is not a function'))
  t.equal(unexpected.exitCode, 1)
  t.match(unexpected.message, /^Something unexpected happened: x is not a function; --debug shows where\.$/)
  t.end()
})
