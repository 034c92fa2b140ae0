import test from 'tape'
import { readAddress } from '../src/address.ts'
import { JobQueue } from '../src/job-queue.ts'
import { about } from '../src/timing.ts'

test('addresses: what people write', (t) => {
  const read = (text: string) => {
    const { kind, host, port, text: told } = readAddress(text)
    return `${kind} ${host} ${port} ${told}`
  }
  t.equal(read('localhost:80'), 'tcp localhost 80 localhost:80')
  t.equal(read('tcp://10.0.0.1:65535'), 'tcp 10.0.0.1 65535 10.0.0.1:65535')
  t.equal(read('[::1]:8080'), 'tcp ::1 8080 [::1]:8080')
  t.equal(read('ws://example.org/feeds'), 'websocket example.org 80 ws://example.org/feeds')
  t.equal(read('wss://example.org'), 'websocket example.org 443 wss://example.org/')
  t.equal(read('ws://[::1]:99'), 'websocket [::1] 99 ws://[::1]:99/')
  t.end()
})

test('addresses: what is none', (t) => {
  const wrong = [
    '',
    'localhost',
    ':80',
    'a b:80',
    'a:0',
    'a:65536',
    'a:80x',
    '::1:80',
    'http://a:80',
    'ws://',
    'ws://a:0',
    'ws://a:1/#part',
    'u@a:1'
  ]
  for (const text of wrong) {
    t.throws(() => readAddress(text), { code: 'ERR_ADDRESS' }, JSON.stringify(text))
  }
  t.throws(() => readAddress(80 as never), { code: 'ERR_ADDRESS' }, 'a number')
  t.end()
})

test('waiting times are within what timers can do', (t) => {
  const longest = 2 ** 31 - 1
  for (let i = 0; i < 100; i++) if (about(longest) > longest) t.fail('too long')
  const times = Array.from({ length: 100 }, () => about(1000))
  t.ok(Math.min(...times) >= 750 && Math.max(...times) <= 1250)
  t.end()
})

test('jobs: a few at a time, the important ones first, else in order', async (t) => {
  const queue = new JobQueue(2)
  const begun: string[] = []
  const finish: (() => void)[] = []
  const job = (name: string) => () =>
    new Promise<void>((resolve) => {
      begun.push(name)
      finish.push(resolve)
    })
  const done = [
    queue.add(1, job('first')),
    queue.add(1, job('second')),
    queue.add(1, job('low')),
    queue.add(3, job('high')),
    queue.add(2, job('middle')),
    queue.add(3, job('high too')),
    queue.add(1, job('low too'))
  ]
  t.deepEqual(begun, ['first', 'second'])
  t.deepEqual([queue.running, queue.waiting], [2, 5])
  while (finish.length > 0) {
    finish.shift()!()
    await new Promise((resolve) => setImmediate(resolve))
    t.ok(queue.running <= 2, 'no more than two at a time')
  }
  await Promise.all(done)
  t.deepEqual(begun, ['first', 'second', 'high', 'high too', 'middle', 'low', 'low too'])
})

test('jobs: dropped ones are over, too', async (t) => {
  const queue = new JobQueue(1)
  let release = (): void => {}
  const running = queue.add(
    1,
    () =>
      new Promise<void>((resolve) => {
        release = resolve
      })
  )
  let ran = false
  const dropped = queue.add(1, async () => {
    ran = true
  })
  queue.clear()
  await dropped
  release()
  await running
  t.notOk(ran)
})
