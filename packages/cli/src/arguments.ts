import type { Argv } from 'yargs'
import type { CommonArguments } from './context.ts'

/** The folder of a feed, as first argument. */
export function feedFolder<A extends CommonArguments>(parser: Argv<A>, describe = 'Folder of the feed') {
  return parser.positional('dir', { type: 'string', demandOption: true, describe })
}
