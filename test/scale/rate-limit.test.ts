import test, { type Test } from 'tape'
import {
  type Clock,
  checkRate,
  DownloadMeter,
  RateLimit,
  UploadMeter
} from '../../src/replication/rate-limit.ts'

/** A clock that stands still until it is moved, and whose timers are late. */
class VirtualClock implements Clock {
  time = 1000
  timers = 0
  readonly #late: number
  #waiting: { at: number; fn: () => void }[] = []

  constructor(late = 0) {
    this.#late = late
  }

  now(): number {
    return this.time
  }

  later(ms: number, fn: () => void): () => void {
    const timer = { at: this.time + ms + this.#late, fn }
    this.#waiting.push(timer)
    this.timers++
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== timer)
    }
  }

  get pending(): number {
    return this.#waiting.length
  }

  /** Lets `ms` milliseconds pass. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms
    for (;;) {
      await settled()
      const next = this.#waiting.reduce<number>(
        (least, { at }) => Math.min(least, at),
        Number.POSITIVE_INFINITY
      )
      if (next > end) break
      this.time = Math.max(this.time, next)
      const due = this.#waiting.filter(({ at }) => at <= this.time)
      this.#waiting = this.#waiting.filter(({ at }) => at > this.time)
      for (const { fn } of due) fn()
    }
    this.time = end
  }
}

/** All that can go on without time passing has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

const SECONDS = 5

function limitOf(rate: number, clock: Clock): RateLimit {
  const limit = new RateLimit(clock)
  limit.rate = rate
  return limit
}

function within(t: Test, actual: number, expected: number, what: string, message = 0): void {
  t.ok(Math.abs(actual - expected) <= expected / 10 + message, `${what}: ${actual} of ${expected}`)
}

test('rate limit: holds for messages of any size, with timers that are late', async (t) => {
  for (const [rate, size, late] of [
    [1_000_000, 512, 0],
    [1_000_000, 64 * 1024, 3],
    [50_000_000, 512, 15],
    [10_000, 16 * 1024, 20],
    [2_000, 100, 5]
  ] as const) {
    const clock = new VirtualClock(late)
    const limit = limitOf(rate, clock)
    let sent = 0
    let stopped = false
    const sending = (async () => {
      const owner = {}
      while (!stopped) {
        await limit.pass(size, owner)
        if (!stopped) sent += size
      }
    })()
    await clock.pass(SECONDS * 1000)
    within(t, sent, SECONDS * rate, `${size} bytes at ${rate} a second`, size)
    t.ok(clock.timers <= SECONDS * 100 + 1, 'with a hundred timers a second at most')
    const before = sent
    await clock.pass(SECONDS * 1000)
    within(t, sent - before, SECONDS * rate, 'and goes on so', size)
    stopped = true
    limit.rate = Number.POSITIVE_INFINITY
    await sending
  }
})

test('rate limit: nothing waits, and no timer runs, without one', async (t) => {
  const clock = new VirtualClock()
  const limit = new RateLimit(clock)
  const answers = Array.from({ length: 1000 }, () => limit.pass(1e6, limit))
  t.ok(answers.every((answer) => answer === null))
  t.equal(clock.timers, 0)
})

test('rate limit: what was not used is not saved up', async (t) => {
  const clock = new VirtualClock()
  const limit = limitOf(1000, clock)
  await clock.pass(60_000)
  let sent = 0
  while (limit.pass(10, limit) === null) sent += 10
  t.ok(sent <= 60, `${sent} bytes at once after a minute`)
  limit.leave(limit)
})

test('rate limit: those who wait go in turn', async (t) => {
  const clock = new VirtualClock()
  const limit = limitOf(10_000, clock)
  const sent = [0, 0, 0, 0]
  let stopped = false
  const senders = sent.map(async (_, i) => {
    const owner = {}
    while (!stopped) {
      await limit.pass(1000, owner)
      if (!stopped) sent[i]!++
    }
  })
  await clock.pass(10_000)
  t.ok(Math.max(...sent) - Math.min(...sent) <= 1, sent.join(', '))
  stopped = true
  limit.rate = Number.POSITIVE_INFINITY
  await Promise.all(senders)
})

test('rate limit: who leaves spends nothing, and leaves no timer behind', async (t) => {
  const clock = new VirtualClock()
  const limit = limitOf(1000, clock)
  const [gone, stays] = [{}, {}]
  t.equal(limit.pass(1000, stays), null)
  const first = limit.pass(1e9, gone)
  const second = limit.pass(1000, stays)
  limit.leave(gone)
  await first
  await clock.pass(1100)
  await second
  t.equal(clock.pending, 0, 'it was let through in its time')
  const third = limit.pass(1, stays)
  t.equal(clock.pending, 1)
  limit.leave(stays)
  await third
  t.equal(clock.pending, 0)
})

test('rate limit: what was still to be answered when a peer left spends nothing', async (t) => {
  const clock = new VirtualClock()
  const limits = [limitOf(1000, clock), limitOf(2000, clock)]
  await clock.pass(1000)
  const meter = new UploadMeter(() => limits)
  t.equal(meter.pass(60_000), null, 'the first one may go')
  meter.leave()
  t.equal(meter.pass(60_000), null, 'the other one is not waited for')
  t.equal(clock.pending, 0, 'no timer runs')
  for (const limit of limits) t.notOk(limit.open, 'what was sent counts')
  await clock.pass(61_000)
  for (const limit of limits) t.ok(limit.open, 'and nothing else')
})

test('rate limit: may be changed at any time', async (t) => {
  const clock = new VirtualClock()
  const limit = limitOf(1000, clock)
  let sent = 0
  let stopped = false
  const sending = (async () => {
    while (!stopped) {
      await limit.pass(100, limit)
      if (!stopped) sent += 100
    }
  })()
  await clock.pass(10_000)
  within(t, sent, 10_000, 'slow')
  sent = 0
  limit.rate = 100_000
  await clock.pass(10_000)
  within(t, sent, 1_000_000, 'fast')
  sent = 0
  limit.rate = 1000
  await clock.pass(10_000)
  within(t, sent, 10_000, 'slow again')
  stopped = true
  limit.rate = Number.POSITIVE_INFINITY
  await sending
})

test('rate limit: of downloads, whatever the size of the blocks turns out to be', async (t) => {
  for (const [rate, size, delay] of [
    [1_000_000, 16 * 1024, 40],
    [1_000_000, 200, 1],
    [100_000, 300_000, 40]
  ] as const) {
    const clock = new VirtualClock()
    const limit = limitOf(rate, clock)
    let received = 0
    let inflight = 0
    let most = 0
    const fill = (): void => {
      while (inflight < 16 && meter.open) {
        const request = {}
        inflight++
        most = Math.max(most, inflight)
        meter.asked(request)
        clock.later(delay, () => {
          received += size
          inflight--
          meter.came(request, size)
          fill()
        })
      }
    }
    const meter = new DownloadMeter(() => [limit], fill)
    fill()
    await clock.pass(60_000)
    within(t, received, 60 * rate, `blocks of ${size} bytes`, size)
    t.ok(most <= 16, `${most} at a time`)
    meter.leave()
  }
})

test('rate limit: requests that are given up cost nothing', async (t) => {
  const clock = new VirtualClock()
  const limit = limitOf(1000, clock)
  const meter = new DownloadMeter(
    () => [limit],
    () => {}
  )
  t.ok(meter.open)
  const requests = [{}, {}, {}]
  for (const request of requests) meter.asked(request)
  t.notOk(meter.open, 'nothing is left')
  for (const request of requests) meter.dropped(request)
  meter.dropped(requests[0]!)
  t.ok(meter.open)
  meter.leave()
  t.equal(clock.pending, 0)
})

test('rate limit: what a rate may be', (t) => {
  t.equal(checkRate(undefined, 'maxUploadRate'), Number.POSITIVE_INFINITY)
  t.equal(checkRate(null, 'maxUploadRate'), Number.POSITIVE_INFINITY)
  t.equal(checkRate(5.5, 'maxUploadRate'), 5.5)
  t.throws(() => checkRate('5', 'maxUploadRate'), TypeError)
  for (const value of [0, -1, Number.NaN]) t.throws(() => checkRate(value, 'maxUploadRate'), RangeError)
  t.end()
})
