import { stat } from 'node:fs/promises'
import { DDatabaseError, type Feed, MAX_BLOCK_SIZE } from 'ddatabase'
import { feedFolder } from '../arguments.ts'
import { BLOCK_SIZE, chunksOf } from '../chunks.ts'
import { command } from '../command.ts'
import type { Context } from '../context.ts'
import { endingWith } from '../ending.ts'
import { Failure } from '../exit.ts'
import { about, explain } from '../explain.ts'
import { inputOf } from '../input.ts'
import { stopIfAsked } from '../interrupt.ts'
import { compact } from '../json.ts'
import { linesOf } from '../lines.ts'
import { openFeed, using } from '../open-feed.ts'
import { placeOf, refuseOwn } from '../own-folder.ts'
import type { Progress } from '../progress.ts'
import { parseSize } from '../range.ts'
import { count } from '../units.ts'

const ENCODINGS = ['utf-8', 'json', 'hex', 'base64'] as const
type Encoding = (typeof ENCODINGS)[number]

// Lines that are appended at once, however many came at once.
const LINES_AT_ONCE = 4096

export const append = command({
  usage: 'append <dir> [values..]',
  describe: 'Append values, lines of the standard input, or a file, one block each',
  examples: [
    ['$0 append ./log hello world', 'two blocks'],
    ['tail -f app.log | $0 append ./log', 'a block for each line, as it comes'],
    ['$0 append ./log --json \'{"n":1}\'', 'a block of JSON, checked; answers in JSON too'],
    ['$0 append ./log --file video.mp4 --chunk 1m', 'a file, in blocks of 1 MiB'],
    ['$0 append ./log -- --dashed', 'a value that begins with dashes']
  ],
  options: (parser) =>
    feedFolder(parser)
      .positional('values', {
        type: 'string',
        array: true,
        describe: 'One block each; none: lines of the standard input'
      })
      .option('encoding', {
        choices: ENCODINGS,
        describe: 'What values and lines are [default: utf-8; with --json: json]'
      })
      .option('file', { type: 'string', describe: 'Append this file, in chunks; - for the standard input' })
      .option('chunk', { type: 'string', default: '64k', describe: 'Bytes of a block of --file' }),
  async run({ dir, values = [], file, chunk, encoding, json }, context) {
    const blockSize = parseSize(chunk, '--chunk', MAX_BLOCK_SIZE)
    if (file !== undefined && (values.length > 0 || encoding !== undefined)) {
      throw new Failure(
        'usage',
        'Values and --encoding do not go together with --file; append one, then the other.'
      )
    }
    const encode = encoder(encoding ?? (json ? 'json' : 'utf-8'))
    // Before the feed is opened: a wrong value changes nothing.
    const given = values.map((value, i) => encode(Buffer.from(value), `Value ${i + 1}`))
    await using(await openFeed(context.out, dir, { sparse: true }), dir, async (feed) => {
      if (!feed.writable) throw new Failure('feed', readOnly(dir))
      const first = feed.length
      try {
        if (file !== undefined) await appendFile(feed, dir, file, blockSize, context)
        else if (given.length > 0) await feed.append(given)
        else await appendLines(feed, encode, context)
      } catch (error) {
        if (context.signal.aborted) throw error
        // The same command would append what got there once more.
        throw explain(error, dir, feed.length === first ? 'run it again' : 'append the rest')
      } finally {
        // Also what was appended before something went wrong is told.
        const blocks = feed.length - first
        const words =
          blocks === 0
            ? 'Nothing appended.'
            : blocks === 1
              ? `Block ${first}.`
              : `Blocks ${first} to ${feed.length - 1}.`
        await context.out.result(words, {
          dir,
          first,
          blocks,
          length: feed.length,
          byteLength: feed.byteLength
        })
      }
    })
  }
})

async function appendFile(
  feed: Feed,
  dir: string,
  file: string,
  blockSize: number,
  context: Context
): Promise<void> {
  const { out, signal, stdin } = context
  const total = file === '-' ? null : await sizeOf(file, dir)
  const input = file === '-' ? stdin : await about(file, () => inputOf(file, BLOCK_SIZE))
  const before = feed.byteLength
  await out.showing('appending', async (progress: Progress) => {
    try {
      for await (const batch of chunksOf(endingWith(input, signal), blockSize)) {
        await feed.append(batch)
        progress.at({ done: feed.byteLength - before, total })
        stopIfAsked(signal, stopped(feed))
      }
    } catch (error) {
      if (DDatabaseError.is(error)) throw error
      throw explain(error, (error as NodeJS.ErrnoException).syscall === 'read' ? file : undefined)
    }
  })
  stopIfAsked(signal, stopped(feed))
}

async function appendLines(feed: Feed, encode: Encode, { out, signal, stdin }: Context): Promise<void> {
  if (stdin.isTTY) out.note('Each line becomes a block; Ctrl-D ends.')
  const tooLong = (): Error =>
    new Failure(
      'usage',
      `A line has more than ${MAX_BLOCK_SIZE} bytes; append it with --file -, which cuts it.`
    )
  let line = 0
  for await (const lines of linesOf(endingWith(stdin, signal), MAX_BLOCK_SIZE, tooLong)) {
    for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
      const blocks: Uint8Array[] = []
      try {
        for (const bytes of lines.slice(at, at + LINES_AT_ONCE)) blocks.push(encode(bytes, `Line ${++line}`))
      } finally {
        // The lines before a wrong one are appended.
        if (blocks.length > 0) await feed.append(blocks)
      }
    }
  }
  stopIfAsked(signal, stopped(feed))
}

async function sizeOf(file: string, dir: string): Promise<number | null> {
  try {
    const stats = await stat(file)
    if (stats.isDirectory()) {
      throw new Failure('files', `${file} is a folder; \`ddatabase import\` puts a folder into a feed.`)
    }
    // A pipe or a device has no size that says anything.
    if (!stats.isFile()) return null
    // What is read would grow with what is appended; and its secret key is there.
    refuseOwn(file, await placeOf(file), await placeOf(dir), 'append')
    return stats.size
  } catch (error) {
    throw explain(error, file)
  }
}

function stopped(feed: Feed): string {
  return `the feed is whole and has ${count(feed.length, 'block')}`
}

function readOnly(dir: string): string {
  return `The feed in ${dir} is a copy: only where its secret key is can it be appended to.`
}

type Encode = (bytes: Uint8Array, what: string) => Uint8Array

function encoder(encoding: Encoding): Encode {
  return (bytes, what) => {
    if (encoding === 'utf-8') return bytes
    if (encoding === 'json') return checkedJson(bytes, what)
    const text = Buffer.from(bytes).toString('utf8').trim()
    const decoded = Buffer.from(text, encoding)
    // Node stops at the first character that does not belong there.
    const plain = (word: string): string => word.replace(/=+$/, '').toLowerCase()
    const same =
      encoding === 'hex' ? plain(text) : text.replace(/=+$/, '').replace(/-/g, '+').replace(/_/g, '/')
    if (decoded.toString(encoding).replace(/=+$/, '') !== same) {
      throw new Failure('usage', `${what} is no ${encoding}; nothing of it was appended.`)
    }
    return decoded
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function checkedJson(bytes: Uint8Array, what: string): Uint8Array {
  try {
    const text = utf8.decode(bytes)
    JSON.parse(text)
    return Buffer.from(compact(text))
  } catch (error) {
    throw new Failure(
      'usage',
      `${what} is no JSON (${(error as Error).message}); nothing of it was appended.`,
      error
    )
  }
}
