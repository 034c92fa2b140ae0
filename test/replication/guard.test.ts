import test from 'tape'
import { Guard } from '../../src/replication/guard.ts'

test('guard: ready runs at once, or when the last one lets go', async (t) => {
  const guard = new Guard()
  const log: string[] = []
  guard.ready(() => void log.push('free'))
  t.same(log.splice(0), ['free'])
  guard.wait()
  guard.wait()
  t.ok(guard.waiting)
  guard.ready(() => void log.push('one'))
  guard.ready(() => void log.push('two'))
  guard.continue()
  t.ok(guard.waiting)
  guard.continue()
  t.same(log, [], 'the last step takes a tick')
  t.ok(guard.waiting)
  await null
  t.notOk(guard.waiting)
  t.same(log.splice(0), ['one', 'two'])
  guard.continue()
  guard.continueSync()
  guard.wait()
  t.ok(guard.waiting, 'letting go too often does not count')
  t.end()
})

test('guard: somebody may take hold before the tick is over', async (t) => {
  const guard = new Guard()
  const log: string[] = []
  guard.wait()
  guard.ready(() => void log.push('free'))
  guard.continue()
  guard.wait()
  await null
  t.same(log, [])
  guard.continueSync()
  t.same(log, ['free'])
  t.end()
})

test('guard: continue with a callback stands for the callback', async (t) => {
  const guard = new Guard()
  const log: unknown[] = []
  guard.wait()
  guard.continue((error, value) => log.push(error, value), null, 5)
  t.same(log.splice(0), [null, 5])
  await null
  guard.wait()
  guard.ready(() => log.push('free'))
  guard.continueSync((error, value) => log.push(error, value), 'e', 'v')
  t.same(log.splice(0), ['free', 'e', 'v'])
  const release = guard.waitAndContinue()
  t.ok(guard.waiting)
  t.equal(release(), true)
  t.equal(release(), false)
  await null
  t.notOk(guard.waiting)
  t.end()
})

test('guard: depends on another, and destroy lets everybody through', (t) => {
  const guard = new Guard()
  const other = new Guard()
  const log: string[] = []
  guard.depend(other)
  t.throws(() => guard.depend(new Guard()), /one other guard/)
  other.wait()
  guard.wait()
  guard.ready(() => void log.push('both'))
  guard.continueSync()
  t.same(log, [], 'the other one is still held')
  other.continueSync()
  t.same(log.splice(0), ['both'])
  other.wait()
  guard.wait()
  guard.ready(() => void log.push('destroyed'))
  guard.destroy()
  t.same(log, [])
  other.destroy()
  t.same(log.splice(0), ['destroyed'])
  guard.ready(() => void log.push('now'))
  t.same(log, ['now'])
  t.end()
})

test('guard: what one of them throws keeps nobody else waiting', async (t) => {
  const guard = new Guard()
  const log: string[] = []
  guard.wait()
  guard.ready(() => {
    throw new Error('of the application')
  })
  guard.ready(() => void log.push('the next one'))
  const thrown = new Promise<Error>((resolve) => process.once('uncaughtException', resolve))
  guard.continueSync()
  t.same(log, ['the next one'])
  t.equal((await thrown).message, 'of the application', 'it is not swallowed')
})
