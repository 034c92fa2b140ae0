import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { parseWhole } from '../range.ts'
import { toJson, toLine } from '../show.ts'
import { feedSource, reading } from '../source.ts'
import { count } from '../units.ts'

export const get = command({
  usage: 'get <feed> <index>',
  describe: 'Print one block',
  examples: [
    ['$0 get ./log 3', 'block 3 as a line'],
    ['$0 get ./photos 17 --raw > part', 'its bytes as they are'],
    ['$0 get KEY 3', 'from the network; nothing but this block is fetched']
  ],
  options: (parser) =>
    feedSource(parser)
      .positional('index', { type: 'string', demandOption: true, describe: 'Number of the block, from 0' })
      .option('raw', {
        type: 'boolean',
        default: false,
        describe: 'The bytes of the block and nothing else'
      }),
  async run(args, context) {
    const { out, signal } = context
    if (args.raw && args.json) throw new Failure('usage', '--raw and --json do not go together; choose one.')
    const index = parseWhole(args.index, 'The number of a block')
    await reading(args, context, async ({ feed, remote, patiently }) => {
      if (index >= feed.length) {
        throw new Failure(
          'missing',
          `The feed has ${count(feed.length, 'block')}, so there is no block ${index}.`
        )
      }
      const block = await patiently(feed.get(index, { wait: remote, signal }))
      if (args.raw) await out.write(block)
      else if (args.json) await out.write(`${toJson(index, block)}\n`)
      else await out.write(toLine(block, out.terminal))
    })
  }
})
