/** `npm start` in two processes, one of which is ended half way; what the next run does about it. */
import { readFile, truncate } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import { BLOCK_SIZE } from '../../examples/start/import-file.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { halfway } from '../helpers/halfway.ts'
import { begin, type Ended, type Running, someFile, start } from './start-helpers.ts'

const BLOCKS = 40

interface Serving extends Running {
  key: string
  port: string
}

async function serve(t: Test, args: string[]): Promise<Serving> {
  const running = await begin(t, ['serve', ...args])
  const [, key, port] = await running.says(/npm start -- clone (\w+) --port (\d+)\n/)
  return { ...running, key: key!, port: port! }
}

/** Begins to clone and waits until a part has come. */
async function cloneHalf(t: Test, { key, port }: Serving, keep: string): Promise<Running> {
  const running = await begin(t, [
    'clone',
    key,
    '--port',
    await halfway(t, port, (BLOCKS / 2) * BLOCK_SIZE),
    '--keep',
    keep
  ])
  await running.says(/^cloning +25% of 40 blocks$/m)
  return running
}

/** Checks a run that went on with a clone, and what the server says of it. */
async function goesOn(t: Test, server: Serving, keep: string, bytes: Buffer, sha256: string): Promise<void> {
  const { code, out, error } = await start(t, ['clone', server.key, '--port', server.port, '--keep', keep])
  t.equal(code, 0, error || 'the next run goes well')
  const [, present, fetched] = /^cloned +(\d+) blocks were here already, (\d+) were fetched/m.exec(out) ?? []
  t.ok(Number(present) >= BLOCKS / 4, `${present} blocks were here already`)
  t.equal(Number(present) + Number(fetched), BLOCKS, `the other ${fetched} were fetched`)
  t.ok(out.includes(`SHA-256 ${sha256}, equal to that of the file on the other side`), 'same SHA-256')
  await server.says(new RegExp(`^served +127\\.0\\.0\\.1, port \\d+: ${fetched} blocks? .* uploaded$`, 'm'))
  t.same(await readFile(path.join(keep, 'clone', 'data')), bytes, 'same content')
}

// Windows cannot send a signal to a process; it ends it.
const SIGNALS: NodeJS.Signals[] = process.platform === 'win32' ? ['SIGKILL'] : ['SIGINT', 'SIGKILL']

for (const signal of SIGNALS) {
  test(`start: the clone is ended by ${signal}`, async (t) => {
    const { file, bytes, sha256 } = await someFile(t, BLOCKS * BLOCK_SIZE - 1)
    const server = await serve(t, [file])
    const keep = await temporaryFolder(t)
    const half = await cloneHalf(t, server, keep)
    half.kill(signal)
    const { code, error } = await half.ended
    if (signal === 'SIGINT') {
      t.equal(code, 130, 'exit code')
      t.match(error, /^Interrupted\. [^\n]*\n$/, 'one sentence')
    } else {
      t.equal(code, null, 'killed')
    }
    await server.says(/^served /m)
    await goesOn(t, server, keep, bytes, sha256)
    if (process.platform === 'win32') return
    server.kill('SIGINT')
    const ended = await server.ended
    t.equal(ended.code, 0, 'Ctrl-C is how serving ends')
    t.same([ended.error, ended.left], ['', []], 'without a word, and nothing is left')
  })

  test(`start: the server is ended by ${signal}`, async (t) => {
    const { file, bytes, sha256 } = await someFile(t, BLOCKS * BLOCK_SIZE - 1)
    const [keep, served] = [await temporaryFolder(t), await temporaryFolder(t)]
    const first = await serve(t, [file, '--keep', served])
    const half = await cloneHalf(t, first, keep)
    first.kill(signal)
    const { code, out, error }: Ended = await half.ended
    t.equal(code, 5, 'exit code of the clone')
    t.match(error, /^The other side went away[^\n]*fetches only what it lacks\.\n$/, 'one sentence')
    t.match(
      out,
      /^stopped +0 blocks were here already, \d+ were fetched, \d+ are missing$/m,
      'and the numbers'
    )
    await first.ended

    const second = await serve(t, [file, '--keep', served])
    t.equal(second.key, first.key, 'the feed is the same')
    await goesOn(t, second, keep, bytes, sha256)
  })
}

if (process.platform !== 'win32') {
  test('start: Ctrl-C while the second process clones', async (t) => {
    const { file } = await someFile(t, 0)
    const blocks = 1600
    // A hole: takes time, but no space here.
    await truncate(file, blocks * BLOCK_SIZE)
    const keep = await temporaryFolder(t)
    const first = await begin(t, [file, '--keep', keep])
    await first.says(/^sparse +3 blocks of 1600/m)
    first.kill('SIGINT')
    const { code, out, error, left } = await first.ended
    t.equal(code, 130, 'exit code')
    t.match(error, /^The other side went away[^\n]*\n$/, 'one sentence, of the second process')
    t.same(left, [], 'nothing is left behind')
    const [, stored] = /^stopped +0 blocks were here already, (\d+) were fetched/m.exec(out) ?? []
    t.ok(Number(stored) >= 3 && Number(stored) < blocks, `${stored} blocks were fetched`)

    const second = await start(t, [file, '--keep', keep])
    t.equal(second.code, 0, second.error || 'the next run goes well')
    const [, present, fetched] = /^cloned +(\d+) blocks were here already, (\d+) were/m.exec(second.out) ?? []
    t.equal(present, stored, `${present} blocks were here already`)
    t.equal(Number(present) + Number(fetched), blocks, `the other ${fetched} were fetched`)
    t.ok(second.out.includes(`: ${fetched} blocks (`), 'and uploaded, each once')
  })
}
