import { open, rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { feedFolder } from '../arguments.ts'
import { command } from '../command.ts'
import { endingWith } from '../ending.ts'
import { Failure } from '../exit.ts'
import { about } from '../explain.ts'
import { inputOf } from '../input.ts'
import { stopIfAsked } from '../interrupt.ts'
import { openFeed, openOrMakeFeed, using } from '../open-feed.ts'
import { pairs } from '../table.ts'
import { hex } from '../units.ts'

const ACTIONS = ['show', 'export', 'import'] as const

export const keys = command({
  usage: 'keys <action> <dir>',
  describe: 'Show the keys of a feed; export or import its secret key',
  examples: [
    ['$0 keys show ./log', 'public key and discovery key'],
    ['$0 keys export ./log --file log.secret', 'the secret key, into a file that only you can read'],
    ['$0 keys export ./log', 'the secret key, printed: whoever sees it can append'],
    ['$0 keys import ./log --file log.secret', 'make a copy writable again; never write on two machines']
  ],
  options: (parser) =>
    feedFolder(
      parser.positional('action', { choices: ACTIONS, demandOption: true, describe: 'What to do' })
    ).option('file', {
      type: 'string',
      describe: 'File with the secret key; import reads the standard input without'
    }),
  async run({ action, dir, file }, { out, stdin, signal }) {
    if (action === 'import') {
      const secretKey = parseSecret(
        await about(file ?? 'the standard input', () => readText(file, stdin, signal))
      )
      // The second half of the secret key is the public one.
      const key = secretKey.subarray(32)
      await using(await openOrMakeFeed(out, dir, key, { secretKey, sparse: true }), dir, async (feed) => {
        await feed.flush()
        const words = `The feed in ${dir} can be appended to, with ${feed.length} blocks here. Fetch what peers have before you append.`
        await out.result(words, { dir, key: hex(feed.key), writable: feed.writable, length: feed.length })
      })
      return
    }
    await using(await openFeed(out, dir, { sparse: true }), dir, async (feed) => {
      const [key, discoveryKey] = [hex(feed.key), hex(feed.discoveryKey)]
      if (action === 'show') {
        const rows = [
          ['key', out.colors.bold(key ?? 'none yet')],
          ['discovery key', discoveryKey ?? 'none yet'],
          ['secret key', feed.writable ? 'is here' : 'is not here']
        ] as const
        await out.result(pairs(rows), { dir, key, discoveryKey, writable: feed.writable })
        return
      }
      if (feed.secretKey === null) {
        throw new Failure('feed', `The feed in ${dir} has no secret key here; only its author has it.`)
      }
      const secretKey = hex(feed.secretKey)
      out.warn('whoever has the secret key can append to this feed; keep it to yourself.')
      if (file === undefined) {
        await out.result(secretKey, { dir, key, secretKey })
        return
      }
      await about(file, () => writeSecret(file, secretKey))
      await out.result(`The secret key is in ${file}.`, { dir, key, file })
    })
  }
})

/** A new file that nobody else can read. */
async function writeSecret(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(`${text}\n`)
    await handle.sync()
  } catch (error) {
    // Part of a key looks like a backup and is none, and would be in the way of the next run.
    await rm(file, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

// With what an editor may put around it.
const LONGEST_TEXT = 4096

async function readText(file: string | undefined, stdin: Readable, signal: AbortSignal): Promise<string> {
  let text = ''
  for await (const chunk of endingWith(file === undefined ? stdin : await inputOf(file), signal)) {
    text += String(chunk)
    // More is no key, and may be without end.
    if (text.length > LONGEST_TEXT) break
  }
  stopIfAsked(signal)
  return text
}

function parseSecret(text: string): Uint8Array {
  const digits = text.trim()
  if (!/^[0-9a-fA-F]{128}$/.test(digits)) {
    throw new Failure(
      'usage',
      'This is no secret key: it has 128 hexadecimal digits, as `ddatabase keys export` writes them.'
    )
  }
  return Buffer.from(digits, 'hex')
}
