/**
 * Recorded replications of the published packages, each side played by our feeds with the recorded keys. Everything sent
 * must be the same, except that Data frames may come in another order, and their neighbours with them.
 */
import test, { type Test } from 'tape'
import type { FeedFace } from '../../helpers/feed-face.ts'
import { Bench, texts } from '../../helpers/replication-feeds.ts'
import { type SentFrame, TYPES } from '../../helpers/replication-frames.ts'
import { OURS, OURS_HYPERCORE, replicating } from '../../helpers/replication-subjects.ts'
import {
  type Output,
  type Part,
  play,
  readTranscript,
  recordedOptions,
  recordedOutput,
  recordedWriter,
  type Side,
  streamOf,
  type Transcript
} from '../../helpers/replication-transcripts.ts'

type Maker = (bench: Bench, transcript: Transcript, side: Side) => Promise<Part>

/** One writer and one replica, not live. */
function simple(writerIs: Side, blocks: string[]): Maker {
  return async (bench, transcript, side) => {
    const key = transcript.feeds.key!
    const feed =
      side === writerIs
        ? await recordedWriter(bench, key, blocks.length > 0 ? [blocks] : [])
        : await bench.feed(Buffer.from(key, 'hex'))
    return { feeds: [feed], stream: streamOf([feed], side, recordedOptions(transcript, side)) }
  }
}

/** Gives a replica these blocks of a writer. */
async function fill(replica: FeedFace, writer: FeedFace, blocks: readonly number[]): Promise<void> {
  for (const i of blocks) await replica.put(i, Buffer.from(`block ${i}`), await writer.proof(i))
}

const PARTS: Record<string, Maker> = {
  'basic-ddatabase': simple('responder', ['a', 'b', 'c', 'd', 'e']),
  'basic-hypercore': simple('responder', ['a', 'b', 'c', 'd', 'e']),
  'not-encrypted': simple('responder', ['a', 'b', 'c', 'd', 'e']),
  'no-noise': simple('responder', ['a', 'b', 'c', 'd', 'e']),
  'writer-initiates': simple('initiator', ['x', 'yy', 'zzz']),
  'empty-feed': simple('responder', []),

  'static-feed': async (bench, transcript, side) => {
    const feed =
      side === 'responder'
        ? await bench.feed(null, { live: false })
        : await bench.feed(Buffer.from(transcript.feeds.key!, 'hex'))
    if (side === 'responder') {
      await feed.append(['one', 'two', 'three'])
      await feed.finalize()
    }
    return { feeds: [feed], stream: streamOf([feed], side, recordedOptions(transcript, side)) }
  },

  'two-replicas': async (bench, transcript, side) => {
    const writer = await recordedWriter(bench, transcript.feeds.key!, [texts(14)])
    const feed = await bench.feed(writer.key)
    await fill(
      feed,
      writer,
      side === 'initiator' ? [0, 1, 2, 3, 4, 5, 6, 9] : [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    )
    return { feeds: [feed], stream: streamOf([feed], side, recordedOptions(transcript, side)) }
  },

  'catch-up': async (bench, transcript, side) => {
    const writer = await recordedWriter(bench, transcript.feeds.key!, [texts(20)])
    const replica = await bench.sparse(writer)
    await fill(replica, writer, [0, 7, 19])
    await writer.append(texts(13, 20))
    const feed = side === 'responder' ? writer : replica
    const stream = streamOf([feed], side, { ...recordedOptions(transcript, side), live: true })
    const steps: Part['steps'] = {}
    if (side === 'initiator') {
      const answers: Promise<unknown>[] = []
      for (const [n, index] of [1, 6, 8, 20, 32, 15].entries()) {
        steps[9 + 2 * n] = async () => {
          await answers.at(-1)
          answers.push(feed.get(index))
        }
      }
      steps[21] = () => answers.at(-1)
    }
    return { feeds: [feed], stream, steps }
  },

  'live-features': async (bench, transcript, side) => {
    const key = transcript.feeds.key!
    if (side === 'initiator') {
      const feed = await bench.feed(Buffer.from(key, 'hex'), { sparse: true })
      const net = replicating(feed)
      const example = net.registerExtension('example', { encoding: 'utf8' })
      net.registerExtension('zeta', {})
      const stream = streamOf([feed], side, { ...recordedOptions(transcript, side), live: true })
      const answers: Promise<unknown>[] = []
      // Our seek wants the data of a block of the pair as well; it comes with the download that follows.
      const places: Promise<unknown>[] = []
      let waiting: unknown
      const steps: Part['steps'] = {
        11: () => void answers.push(feed.call('update')),
        14: () => Promise.all(answers).then(() => void answers.push(feed.get(0))),
        17: () => Promise.all(answers).then(() => void places.push(feed.seek(12))),
        21: () => void example.broadcast('ping'),
        25: () => void answers.push(feed.call('download', { start: 2, end: 5, linear: true })),
        35: async () => {
          await Promise.all(answers)
          if (String(await places[0]) !== '3,1') throw new Error(`sought ${await places[0]}`)
          net.setDownloading(false)
        },
        36: () => net.setDownloading(true),
        38: () => {
          waiting = net.get(7, {}, () => {})
        },
        44: () => {
          net.cancel(waiting)
          net.get(7, {}, () => {})
          stream.ping()
        }
      }
      return { feeds: [feed], stream, steps }
    }
    const feed = await recordedWriter(bench, key, [['hello', 'how', 'are', 'you', 'doing', '?']])
    const net = replicating(feed)
    const alpha = net.registerExtension('alpha', {})
    const example = net.registerExtension('example', {
      encoding: 'utf8',
      onmessage: (_message: unknown, peer: never) => example.send('pong', peer)
    })
    const stream = streamOf([feed], side, { ...recordedOptions(transcript, side), live: true, ack: true })
    return {
      feeds: [feed],
      stream,
      steps: {
        23: () => feed.append('more'),
        24: () => feed.append(['and', 'more']),
        34: () => feed.clear(2, 4),
        37: () => net.setUploading(false),
        38: () => net.setUploading(true),
        45: () => void stream.ping(),
        46: () => alpha.destroy(),
        47: () => void feed.close()
      }
    }
  },

  multiplexed: async (bench, transcript, side) => {
    const { A, B, X } = transcript.feeds as { A: string; B: string; X: string }
    if (side === 'initiator') {
      const feeds = [
        await bench.feed(Buffer.from(A, 'hex')),
        await recordedWriter(bench, X, [['x0']]),
        await recordedWriter(bench, B, [['b0']])
      ]
      const stream = streamOf(feeds, side, recordedOptions(transcript, side))
      stream.registerExtension('test', { encoding: 'json' }).send({ hello: 'world' })
      return { feeds, stream }
    }
    const a = await recordedWriter(bench, A, [['a0', 'a1']])
    const b = await bench.feed(Buffer.from(B, 'hex'))
    const stream = streamOf([a], side, recordedOptions(transcript, side))
    stream.registerExtension('other', {})
    const extension = stream.registerExtension('test', {
      encoding: 'json',
      onmessage: () => extension.send({ answer: 1 })
    })
    stream.on('discovery-key', (discoveryKey: Uint8Array) => {
      if (Buffer.from(discoveryKey).equals(b.feed.discoveryKey!))
        replicating(b).replicate(stream, { random: () => 0 })
      else stream.close(discoveryKey)
    })
    return { feeds: [a, b], stream }
  }
}

// In `catch-up`: the first request for more than is here leaves nothing out, so that the answer tells the remote's own roots.
const RECORDED_EXTENSION = '1: Request 20 bytes 0 hash false digest 40'
const OUR_EXTENSION = '1: Request 20 bytes 0 hash false digest 0'

/** Frames in an order that does not depend on how fast the storage is: per channel, Data last and sorted. */
function sorted(frames: readonly SentFrame[]): string[] {
  const place = (frame: SentFrame) => frame.channel * 2 + (frame.type === TYPES.data ? 1 : 0)
  return frames
    .map((frame, n) => ({ frame, n }))
    .sort((one, two) => {
      const order = place(one.frame) - place(two.frame)
      if (order !== 0) return order
      if (one.frame.type !== TYPES.data) return one.n - two.n
      return one.frame.message.index - two.frame.message.index || one.n - two.n
    })
    .map(({ frame }) => describe(frame))
}

function describe({ channel, type, hex, message }: SentFrame): string {
  if (type === TYPES.data) return `${channel}: Data ${message.index} ${hex}`
  if (type === TYPES.request) {
    const { index, bytes, hash, nodes } = message
    const text = `${channel}: Request ${index} bytes ${bytes} hash ${hash} digest ${nodes}`
    return text === RECORDED_EXTENSION ? OUR_EXTENSION : text
  }
  return `${channel}: type ${type} ${hex}`
}

// What we send earlier than was recorded: the border between two blocks is believed only with the data of one of them.
const EARLY = ['1: Request 2 bytes 0 hash false digest 1']

function compare(t: Test, ours: Output, theirs: Output, early: readonly string[]): void {
  t.equal(ours.handshake, theirs.handshake, 'the handshake')
  const [sent, recorded] = [sorted(ours.frames), sorted(theirs.frames)]
  t.deepEqual(
    sent.filter((frame) => !recorded.includes(frame)),
    [],
    'nothing that was not recorded'
  )
  t.deepEqual(
    recorded.filter((frame) => !sent.includes(frame)),
    [],
    'everything that was recorded'
  )
  const inOrder = (frames: readonly string[]) => frames.filter((frame) => !early.includes(frame))
  t.deepEqual(inOrder(sent), inOrder(recorded), 'in the same order')
}

for (const [name, make] of Object.entries(PARTS)) {
  const transcript = readTranscript(name)
  for (const side of ['initiator', 'responder'] as const) {
    test(`transcript ${name}, our feed being the ${side}`, async (t) => {
      const bench = new Bench(t, transcript.package === 'hypercore' ? OURS_HYPERCORE : OURS)
      const part = await make(bench, transcript, side)
      const ours = await play(transcript, side, part)
      const early = name === 'live-features' && side === 'initiator' ? EARLY : []
      compare(t, ours, recordedOutput(transcript, side), early)
      part.stream.destroy()
      await bench.close()
    })
  }
}
