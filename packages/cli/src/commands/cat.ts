import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { stopIfAsked } from '../interrupt.ts'
import { type BlockRange, parseRange, parseWhole } from '../range.ts'
import { toJson, toLine } from '../show.ts'
import { blocksOf, feedSource, reading, type Source } from '../source.ts'

const TAIL = 10

export const cat = command({
  usage: 'cat <feed>',
  describe: 'Print the blocks of a feed',
  examples: [
    ['$0 cat ./log', 'all of them, one line each'],
    ['$0 cat ./log --range 3..7', 'blocks 3 to 6'],
    ['$0 cat ./log --tail 5', 'the last five'],
    ['$0 cat KEY --tail --follow', 'the last ten of a feed on the network, and those to come'],
    ['$0 cat ./log --json | jq .value', 'one JSON object for each block'],
    ['$0 cat ./video --raw > video.mp4', 'the bytes as they are, nothing between the blocks']
  ],
  options: (parser) =>
    feedSource(parser)
      .option('range', { type: 'string', describe: 'Blocks: 7, 3..9 (without 9), 3.. or ..9' })
      .option('tail', { type: 'string', describe: `The last so many blocks; ${TAIL} if no number is given` })
      .option('follow', {
        alias: 'f',
        type: 'boolean',
        default: false,
        describe: 'Go on with the blocks to come'
      })
      .option('raw', {
        type: 'boolean',
        default: false,
        describe: 'The bytes of the blocks and nothing else'
      })
      .conflicts('range', 'tail'),
  async run(args, context) {
    const { out, signal } = context
    if (args.raw && args.json) throw new Failure('usage', '--raw and --json do not go together; choose one.')
    const range = args.range === undefined ? null : parseRange(args.range)
    const last = args.tail === undefined ? null : args.tail === '' ? TAIL : parseWhole(args.tail, '--tail')
    if (args.follow && range !== null && range.end !== null) {
      throw new Failure('usage', '--follow goes with an open range only, such as 3.. (without an end).')
    }
    await reading(args, context, async (source) => {
      const { remote } = source
      if (args.follow && !remote) {
        throw new Failure(
          'usage',
          '--follow is for a key: while a folder is open here, nothing is appended to it.'
        )
      }
      const { start, end } = chosen(source, range, last)
      let index = start
      for await (const block of blocksOf(source, { start, end: args.follow ? null : end, signal })) {
        if (args.raw) await out.write(block)
        else if (args.json) await out.write(`${toJson(index, block)}\n`)
        else await out.write(toLine(block, out.terminal))
        index++
      }
      if (!args.follow) stopIfAsked(signal, `block ${index} comes next`)
    })
  }
})

function chosen(
  { feed }: Source,
  range: BlockRange | null,
  last: number | null
): { start: number; end: number } {
  const { length } = feed
  if (last !== null) return { start: Math.max(0, length - last), end: length }
  if (range === null) return { start: 0, end: length }
  const end = range.end ?? length
  if (end > length || range.start > length) {
    throw new Failure(
      'missing',
      `The feed has ${length} blocks, so there is no block ${Math.max(end - 1, range.start)}.`
    )
  }
  return { start: range.start, end }
}
