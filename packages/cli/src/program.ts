import { readFileSync } from 'node:fs'
import yargs, { type Argv } from 'yargs'
import type { Command, RunCommand } from './command.ts'
import { append } from './commands/append.ts'
import { audit } from './commands/audit.ts'
import { cat } from './commands/cat.ts'
import { clear } from './commands/clear.ts'
import { clone } from './commands/clone.ts'
import { completion } from './commands/completion.ts'
import { create } from './commands/create.ts'
import { exportFeed } from './commands/export.ts'
import { get } from './commands/get.ts'
import { importFiles } from './commands/import.ts'
import { info } from './commands/info.ts'
import { inspect } from './commands/inspect.ts'
import { keys } from './commands/keys.ts'
import { peers } from './commands/peers.ts'
import { seek } from './commands/seek.ts'
import { share } from './commands/share.ts'
import { sync } from './commands/sync.ts'
import { COMPLETING, worthOffering } from './completion.ts'
import type { CommonArguments } from './context.ts'
import { Failure } from './exit.ts'
import { protect, restoreText } from './words.ts'

const COMMANDS: readonly Command[] = [
  create,
  append,
  cat,
  get,
  seek,
  info,
  audit,
  clear,
  importFiles,
  exportFeed,
  share,
  clone,
  sync,
  peers,
  inspect,
  keys,
  completion
]

/** The version of this package. */
export function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/**
 * Understands the words of a command line and runs what they say. Fails with exit code 2 if they make no sense.
 * @param print - gets what `--help`, `--version` and the completion say
 */
export async function interpret(
  words: readonly string[],
  run: RunCommand,
  print: (text: string) => void
): Promise<void> {
  let chosen: Promise<void> | null = null
  const parser: Argv<CommonArguments> = yargs()
    .scriptName('ddatabase')
    .usage('$0 <command>\n\nSigned append-only logs: write, copy, share and check them.')
    .locale('en')
    // Nothing is a number, or an object, because it looks like one: keys and values are text.
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false
    })
    .option('json', {
      type: 'boolean',
      default: false,
      global: true,
      describe: 'Answer in JSON, for scripts'
    })
    .option('quiet', {
      alias: 'q',
      type: 'boolean',
      default: false,
      global: true,
      describe: 'Say nothing but results and errors'
    })
    .option('color', {
      type: 'boolean',
      global: true,
      describe: 'Use colours; --no-color or NO_COLOR: do not'
    })
    .option('debug', {
      type: 'boolean',
      default: false,
      global: true,
      describe: 'Show the stack of an error'
    })
    .group(['json', 'quiet', 'color', 'debug', 'help', 'version'], 'Everywhere:')
    // The command that prints yargs' own scripts is not offered: there is one of ours.
    .completion('yargs-completion', false, offer)
    .example([
      ['$0 import ./photos ./photos.feed', 'put a folder into a feed'],
      ['$0 share ./photos.feed', 'let others have it; prints the line for them'],
      ['$0 clone KEY ./photos.feed', 'get it, somewhere else, checked byte by byte'],
      ['$0 export ./photos.feed ./photos', 'and have the folder back']
    ])
    .epilog(
      '`ddatabase <command> --help` tells more, with examples. Exit codes are in the README of ddatabase-cli.'
    )
    .version(version())
    .help()
    .alias('h', 'help')
    .recommendCommands()
    .demandCommand(1, 'Which command? See ddatabase --help.')
    .strict()
    .exitProcess(false)
    .wrap(Math.min(100, process.stdout.columns || 100))
    .fail((message, error) => {
      throw error ?? new Failure('usage', sentence(message))
    })
  const once: RunCommand = (args, work) => {
    chosen = run(args, work)
    return chosen
  }
  for (const each of COMMANDS) each.addTo(parser, once)
  // The completion script calls back, and its answer is written by yargs itself.
  if (words.includes(COMPLETING)) {
    await parser.parseAsync([...words])
    return
  }
  let said = ''
  await parser.parseAsync(protect(words), {}, (error, _args, output) => {
    if (output !== '' && (error === undefined || error === null)) said = output
  })
  if (chosen === null && said !== '') print(`${said}\n`)
}

function offer(
  word: string,
  _args: unknown,
  usual: (found: (error: Error | null, offered: string[] | undefined) => void) => void,
  done: (offered: string[]) => void
): void {
  usual((_error, offered = []) => done(worthOffering(word, offered)))
}

function sentence(message: string): string {
  const line = restoreText(message)
    .trim()
    .split('\n')
    .join(' ')
    .replace(/^Did you mean (\w+)\?$/, 'There is no such command; did you mean $1?')
  return /[.?]$/.test(line) ? line : `${line}; see ddatabase --help.`
}
