import { command } from '../command.ts'
import { Failure } from '../exit.ts'
import { parseWhole } from '../range.ts'
import { feedSource, reading } from '../source.ts'

export const seek = command({
  usage: 'seek <feed> <byte>',
  describe: 'Tell which block holds a byte of the feed',
  examples: [
    ['$0 seek ./video 1000000', 'block and place in the block'],
    ['$0 seek KEY 1000000 --json', 'from the network; only hashes are fetched']
  ],
  options: (parser) =>
    feedSource(parser).positional('byte', {
      type: 'string',
      demandOption: true,
      describe: 'Offset in bytes, from 0'
    }),
  async run(args, context) {
    const { out, signal } = context
    const byte = parseWhole(args.byte, 'The offset of a byte')
    await reading(args, context, async ({ feed, remote, patiently }) => {
      if (byte >= feed.byteLength) {
        throw new Failure('missing', `The feed has ${feed.byteLength} bytes, so there is no byte ${byte}.`)
      }
      const { index, offset } = await patiently(feed.seek(byte, { wait: remote, signal }))
      await out.result(`Block ${index}, byte ${offset} of it.`, { byte, index, offset })
    })
  }
})
