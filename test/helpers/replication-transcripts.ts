/** Recorded replications, and feeds that play one side of them. */
import { readdirSync } from 'node:fs'
import type { FeedFace } from './feed-face.ts'
import { vector } from './folders.ts'
import type { Bench } from './replication-feeds.ts'
import { decrypt, framesOf, recordOutput, type SentFrame } from './replication-frames.ts'
import { unwatched } from './replication-pipes.ts'
import { type AnyStream, replicating } from './replication-subjects.ts'
import { keyPair } from './vectors.ts'
import { settle, within } from './watchdog.ts'

/** Who began. */
export type Side = 'initiator' | 'responder'

/** One chunk of a transcript. */
export interface Entry {
  from: Side
  kind: 'handshake' | 'frame' | 'keepalive'
  wire: string
  plain?: string
  type: number
}

type Keys = Record<
  'staticPublicKey' | 'staticSecretKey' | 'ephemeralPublicKey' | 'ephemeralSecretKey' | 'nonce',
  string
>

/** A recorded replication. */
export interface Transcript {
  name: string
  package: 'ddatabase' | 'hypercore'
  encrypted: boolean
  noise: boolean
  keys: Record<Side, Keys>
  split: Record<'initiatorToResponderKey' | 'responderToInitiatorKey', string>
  feeds: Record<string, string>
  entries: Entry[]
}

/** A side of a transcript as it is played. */
export interface Part {
  /** The feeds, in the order in which they are opened on the stream. */
  feeds: FeedFace[]
  stream: AnyStream
  /** What the application does before chunk n is sent. */
  steps?: Record<number, () => unknown>
}

/** Names of all transcripts. */
export function transcriptNames(): string[] {
  return readdirSync(new URL('../vectors/transcripts/', import.meta.url)).map((file) =>
    file.replace('.json', '')
  )
}

/** A transcript. */
export function readTranscript(name: string): Transcript {
  return vector<Transcript>(`transcripts/${name}.json`)
}

const hex = (text: string) => Buffer.from(text, 'hex')

/** Options with which a stream repeats the random choices of a side. */
export function recordedOptions(transcript: Transcript, side: Side): object {
  const keys = transcript.keys[side]
  const { encrypted, noise } = transcript
  if (!noise) return { encrypted, noise, random: () => 0 }
  const pair = (kind: 'static' | 'ephemeral') => ({
    publicKey: hex(keys[`${kind}PublicKey`]),
    secretKey: hex(keys[`${kind}SecretKey`])
  })
  return {
    encrypted,
    authenticated: false,
    keyPair: pair('static'),
    recorded: { nonce: hex(keys.nonce), ephemeralKeyPair: pair('ephemeral') },
    random: () => 0
  }
}

/** A writable feed with one of the recorded keys. */
export async function recordedWriter(
  bench: Bench,
  key: string,
  batches: readonly (readonly string[])[]
): Promise<FeedFace> {
  const feed = await bench.feed(hex(key), { secretKey: hex((await keyPair(key)).secretKey) })
  for (const batch of batches) await feed.append([...batch])
  return feed
}

/** What a side sent, sorted out. */
export interface Output {
  handshake: string
  /** In order, without keepalives. */
  frames: SentFrame[]
}

/** What a side sent in the recording. */
export function recordedOutput(transcript: Transcript, side: Side): Output {
  const mine = transcript.entries.filter(({ from }) => from === side)
  const plain = mine.filter(({ kind }) => kind === 'frame').map((entry) => entry.plain ?? entry.wire)
  return {
    handshake: mine
      .filter(({ kind }) => kind === 'handshake')
      .map(({ wire }) => wire)
      .join(''),
    frames: framesOf(hex(plain.join('')))
  }
}

/**
 * Plays one side: gives the stream what the other side sent, each chunk after ours has sent what came before it in the
 * recording, and does the application's steps where they were done.
 */
export async function play(transcript: Transcript, side: Side, part: Part): Promise<Output> {
  const { stream, steps = {} } = part
  unwatched(stream)
  const output = recordOutput(stream)
  const { entries, encrypted, split } = transcript
  const shaken = entries
    .filter(({ from, kind }) => from === side && kind === 'handshake')
    .reduce((sum, { wire }) => sum + wire.length / 2, 0)
  const read = (): Output => {
    const bytes = output.bytes()
    const rest = bytes.subarray(shaken)
    const direction = side === 'initiator' ? 'initiatorToResponderKey' : 'responderToInitiatorKey'
    const plain = encrypted ? decrypt(rest, hex(split[direction]), hex(transcript.keys[side].nonce)) : rest
    return { handshake: bytes.subarray(0, shaken).toString('hex'), frames: framesOf(plain) }
  }
  let sent = 0
  for (const [n, entry] of entries.entries()) {
    if (n in steps) {
      await settle()
      await steps[n]!()
    }
    if (entry.from === side) {
      sent += entry.wire.length / 2
      // A digest that differs makes a frame shorter or longer, so the size is not waited for for ever.
      for (let turns = 0; turns < 100 && output.bytes().byteLength < sent; turns++) {
        await new Promise((resolve) => setImmediate(resolve))
      }
    } else if (!stream.destroying) {
      stream.write(hex(entry.wire))
    }
  }
  await settle()
  await steps[entries.length]?.()
  if (!stream.destroyed && entries.at(-1)!.type === 10) {
    stream.end()
    await within(
      new Promise((resolve) => stream.on('close', resolve)),
      `${transcript.name}: the end of ${side}`
    )
  }
  return read()
}

/** A stream with these feeds on it. */
export function streamOf(feeds: readonly FeedFace[], side: Side, options: object): AnyStream {
  const stream = replicating(feeds[0]!).replicate(side === 'initiator', options)
  for (const feed of feeds.slice(1)) replicating(feed).replicate(stream, options)
  return stream
}
