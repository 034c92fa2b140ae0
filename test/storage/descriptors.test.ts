/** How many files stay open, and which. */
import fs from 'node:fs'
import test from 'tape'
import { boundOf, Descriptors, limitOfProcess, type OpenFile } from '../../src/storage/descriptors.ts'
import { replace, systemError } from '../helpers/lock-descriptors.ts'

/** Gives up whatever a small pool can give up. */
function giveUpAll(pool: Descriptors): boolean {
  return pool.relieves(systemError('EMFILE'))
}

class Pretended implements OpenFile {
  used = false
  idle = true
  hasDescriptor = true
  removed = false
  gone = 0
  readonly #pool: Descriptors
  constructor(pool: Descriptors) {
    this.#pool = pool
  }
  giveUp(): boolean {
    if (this.removed) return false
    this.gone++
    if (this.idle) this.#pool.leave(this)
    return true
  }
  /** What was done with it is done. */
  finish(): void {
    this.idle = true
    if (this.gone > 0) this.#pool.leave(this)
  }
}

test('who is given up: the first in the queue that was not used since its last turn', (t) => {
  const pool = new Descriptors(3, 1)
  const [a, b, c, d, e] = Array.from({ length: 5 }, () => new Pretended(pool)) as [
    Pretended,
    Pretended,
    Pretended,
    Pretended,
    Pretended
  ]
  const gone = (): number[] => [a, b, c, d, e].map((file) => file.gone)
  for (const file of [a, b, c]) pool.enter(file, false, () => {})
  t.same(gone(), [0, 0, 0, 0, 0], 'there is room for three')
  a.used = true
  b.idle = false
  d.used = true
  pool.enter(d, false, () => {})
  t.same(gone(), [0, 0, 1, 0, 0], 'neither the used one nor the busy one')
  t.notOk(a.used, 'it has had its second chance')
  pool.enter(e, false, () => {})
  t.same(gone(), [1, 0, 1, 0, 0], 'the one that was used longer ago than those behind it')
  t.equal(pool.size, 3)
  pool.leave(e)
  pool.leave(c)
  t.equal(pool.size, 2, 'closed, or given up before')
  t.end()
})

test('files that have to stay take the room of others', (t) => {
  const pool = new Descriptors(4, 2)
  const files = Array.from({ length: 4 }, () => new Pretended(pool))
  for (const file of files) pool.enter(file, false, () => {})
  const locked = Array.from({ length: 10 }, () => new Pretended(pool))
  for (const file of locked) pool.enter(file, true, () => {})
  t.same(
    files.map(({ gone }) => gone),
    [1, 1, 0, 0],
    'two are open in any case'
  )
  t.ok(locked.every(({ gone }) => gone === 0))
  t.equal(pool.size, 12)
  for (const file of locked) pool.leave(file)
  t.equal(pool.size, 2)

  files[2]!.removed = true
  t.ok(giveUpAll(pool))
  t.same(
    files.map(({ gone }) => gone),
    [1, 1, 0, 1],
    'nor is one that could not be opened again'
  )
  t.notOk(giveUpAll(pool), 'that was all')
  t.equal(pool.size, 1, 'it is still open')
  pool.leave(files[2]!)
  t.equal(pool.size, 0)
  t.notOk(pool.relieves(systemError('EIO')), 'other errors have nothing to do with it')
  t.end()
})

test('all are in use: the next ones wait for the first that is not', (t) => {
  const pool = new Descriptors(2, 1)
  const files = Array.from({ length: 5 }, () => Object.assign(new Pretended(pool), { idle: false }))
  const open: number[] = []
  for (const [i, file] of files.entries()) pool.enter(file, false, () => open.push(i))
  t.same(open, [0, 1])
  t.equal(pool.size, 2)
  t.notOk(pool.enterNow(new Pretended(pool)))
  files[1]!.finish()
  t.same(open, [0, 1, 2], 'the first that waits')
  files[0]!.finish()
  t.same(open, [0, 1, 2, 3])
  pool.leave(files[2]!)
  t.same(open, [0, 1, 2, 3, 4], 'one that was closed, or could not be opened, counts as well')
  t.equal(pool.size, 2)
  files[3]!.finish()
  t.same([files[3]!.gone, files[4]!.gone], [0, 0], 'nobody waits any more')
  t.ok(pool.enterNow(new Pretended(pool)))
  t.end()
})

test('nothing overtakes those that wait', (t) => {
  const pool = new Descriptors(2, 1)
  const [a, b, c] = Array.from({ length: 3 }, () => Object.assign(new Pretended(pool), { idle: false }))
  const open: string[] = []
  pool.enter(a!, false, () => {})
  pool.enter(b!, false, () => {})
  pool.enter(c!, false, () => open.push('c'))
  t.equal(a!.gone, 1, 'asked to leave')
  b!.idle = true
  t.notOk(pool.enterNow(new Pretended(pool)), 'though one is idle')
  t.same(open, [])
  a!.finish()
  t.same(open, ['c'])
  t.ok(pool.enterNow(new Pretended(pool)))
  t.equal(b!.gone, 1)
  t.end()
})

test('the system has no descriptors left: openings wait for files that have one, and for nothing else', (t) => {
  const pool = new Descriptors(10, 10)
  const error = systemError('ENFILE')
  const open: string[] = []
  const first = Object.assign(new Pretended(pool), { idle: false, hasDescriptor: false })
  const second = Object.assign(new Pretended(pool), { idle: false, hasDescriptor: false })
  pool.enter(first, false, () => {})
  pool.enter(second, false, () => {})
  t.notOk(
    pool.relievesLater(error, () => open.push('never')),
    'two that are being opened do not wait for each other'
  )
  const busy = Object.assign(new Pretended(pool), { idle: false })
  pool.enter(busy, false, () => {})
  t.ok(pool.relievesLater(error, () => open.push('first')))
  t.ok(pool.relievesLater(error, () => open.push('second')))
  t.same(open, [])
  busy.finish()
  t.same(open, ['first', 'second'], 'both try again')
  t.notOk(pool.relievesLater(error, () => open.push('never')))
  const idle = new Pretended(pool)
  pool.enter(idle, false, () => {})
  t.ok(pool.relievesLater(error, () => open.push('third')))
  t.same(open, ['first', 'second', 'third'], 'at once')
  t.notOk(pool.relievesLater(systemError('EIO'), () => open.push('never')))
  t.end()
})

test('the system has no descriptors left: from then on there are fewer', (t) => {
  const pool = new Descriptors(null, 2)
  const enter = (): void => pool.enter(new Pretended(pool), false, () => {})
  for (let i = 0; i < 40; i++) enter()
  t.ok(pool.relieves(systemError('EMFILE')))
  t.equal(pool.size, 32, 'some were given up')
  for (let i = 0; i < 40; i++) enter()
  t.equal(pool.size, 30, 'three quarters of what there were')
  t.end()
})

test('the bound leaves room under the limit of the process', (t) => {
  const limit = limitOfProcess()
  t.ok(limit > 0)
  t.ok(boundOf(limit) < limit || limit === Number.POSITIVE_INFINITY)
  t.equal(boundOf(1024), 768)
  const { readFileSync } = fs
  const told = (answer: string | Error): number => {
    replace(t, fs, 'readFileSync', (file: string, ...rest: []) => {
      if (file !== '/proc/self/limits') return readFileSync(file, ...rest)
      if (typeof answer !== 'string') throw answer
      return answer
    })
    return limitOfProcess()
  }
  const lines = (limits: string): string =>
    `Limit  Soft Limit\nMax open files            ${limits}     files\n`
  t.equal(told(lines('4096                 8192')), 4096, 'the soft limit counts')
  t.equal(told(lines('unlimited            unlimited')), Number.POSITIVE_INFINITY)
  t.equal(told('nonsense'), 2048)
  t.equal(told(systemError('ENOENT')), 2048, 'another system')
  t.end()
})
