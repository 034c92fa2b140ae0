import type { ArgumentsCamelCase, Argv } from 'yargs'
import type { CommonArguments, Context } from './context.ts'
import { restore } from './words.ts'

/** One command, before its arguments are known. */
export interface Command {
  /** Adds it to a parser. `run` is called with its work when the command was chosen. */
  addTo(parser: Argv<CommonArguments>, run: RunCommand): void
}

/** Runs the work of a command and answers for it. */
export type RunCommand = (
  args: CommonArguments,
  work: (context: Context) => Promise<ExitCode>
) => Promise<void>

/** The exit code of a command that did its work; nothing means 0. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement is the usual case
export type ExitCode = number | void

/** What a command is made of. */
export interface CommandParts<A extends CommonArguments> {
  /** Name and positional arguments, as yargs writes them. */
  usage: string
  /** One line for the list of commands. */
  describe: string
  /** Pairs of a command line and what it does. */
  examples: readonly [string, string][]
  options(parser: Argv<CommonArguments>): Argv<A>
  run(args: ArgumentsCamelCase<A>, context: Context): Promise<ExitCode>
}

/** A command of its parts. */
export function command<A extends CommonArguments>(parts: CommandParts<A>): Command {
  return {
    addTo(parser, run) {
      parser.command<A>(
        parts.usage,
        parts.describe,
        (own) => parts.options(own.example(parts.examples)),
        (given) => {
          const args = restore(given)
          return run(args, (context) => parts.run(args, context))
        }
      )
    }
  }
}
