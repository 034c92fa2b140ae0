/** What is remembered of peers that are late. */

import test from 'tape'
import { Lateness } from '../../src/replication/lateness.ts'
import type { Replicator } from '../../src/replication/replicator.ts'
import { until } from '../helpers/replication-feeds.ts'

interface Request {
  index: number
  bytes: number
  sent: number
  arrived: boolean
  overdue: boolean
  doubted: boolean
}

function requestFor(index: number): Request {
  const sent = performance.now() - 60_000
  return { index, bytes: 0, sent, arrived: false, overdue: false, doubted: false }
}

/** A peer with the requests that it owes an answer for. */
function peerWith(inflightRequests: Request[]) {
  const answerTime = { expectedAfter: () => 0 }
  const doubt = { isRaised: false, raise() {} }
  const downloader = {
    isSlow: inflightRequests.length > 0,
    answerTime,
    doubt,
    lastAnswer: 0,
    lastAnswered: 0
  }
  return { inflightRequests, downloader, mayAsk: true, mayTell: false, isWaiting: false, isSending: false }
}

test('lateness: what was answered late is forgotten, also while others are late all the time', async (t) => {
  const silent = peerWith([requestFor(0)])
  const slow = peerWith([])
  const replicator = {
    peers: [peerWith([]), silent, slow],
    storing: 0,
    source: { content: { length: 1000 }, lessAvailable() {} },
    reserved: { has: () => false, take: () => true },
    wishesFor: ({ index }: Request) => [{ kind: 'block', index }],
    hasFor: () => true,
    isKept: () => false,
    free() {},
    fillAll() {},
    endings: { look() {} }
  }
  const lateness = new Lateness(replicator as unknown as Replicator)
  const { blocks } = lateness as unknown as { blocks: ReadonlySet<number> }
  slow.downloader.isSlow = true
  for (let index = 1; index <= 5; index++) {
    const request = requestFor(index)
    slow.inflightRequests.splice(0, 1, request)
    lateness.watch()
    await until(() => request.overdue, `block ${index} to be late`)
  }
  t.deepEqual([...blocks].sort(), [0, 5], 'what is still owed')
  // Somebody else is asked for the last one, and the slow one answers.
  replicator.peers[0]!.inflightRequests.push({ ...requestFor(5), sent: performance.now(), doubted: true })
  slow.inflightRequests.splice(0, 1, requestFor(6))
  lateness.watch()
  await until(() => slow.inflightRequests[0]!.overdue, 'block 6 to be late')
  t.ok(lateness.isAskedAlready(replicator.peers[0] as never, 5), 'and nobody is asked twice')
  // Everybody answers.
  for (const { inflightRequests } of replicator.peers) inflightRequests.length = 0
  silent.inflightRequests.push({ ...requestFor(7), sent: performance.now() })
  lateness.watch()
  await until(() => blocks.size === 0, 'nothing')
  t.notOk(lateness.any, 'nobody is late any more')
  silent.inflightRequests.length = 0
})
