/** The small examples, each run as a person would. */
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import { temporaryFolder } from '../helpers/folders.ts'
import { begin, type Running, someFile } from './start-helpers.ts'

const PROGRAMS = ['share-folder', 'chat', 'tail-log', 'http-range', 'libp2p']

test('examples: --help, and a wrong command line', async (t) => {
  const all = PROGRAMS.map(async (name) => {
    const help = await (await begin(t, ['--help'], `${name}.ts`)).ended
    t.equal(help.code, 0, name)
    t.match(help.out, new RegExp(`^Usage: node --import tsx examples/${name}.ts`))
  })
  await Promise.all(all)
  const wrong = await (await begin(t, ['--no-such-option'], 'chat.ts')).ended
  t.equal(wrong.code, 2)
  t.match(wrong.error, /no-such-option.*\n(.*\n)*See --help\.\n$/)
})

test('examples: they are listed', async (t) => {
  const text = await readFile(new URL('../../examples/README.md', import.meta.url), 'utf8')
  for (const name of PROGRAMS) t.match(text, new RegExp(`\\[${name}\\.ts\\]\\(${name}\\.ts\\)`), name)
})

test('examples: a folder is shared', async (t) => {
  const { file, bytes } = await someFile(t, 300_000)
  const folder = await temporaryFolder(t)
  const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')]
  await mkdir(path.join(from, 'below', 'it'), { recursive: true })
  await writeFile(path.join(from, 'below', 'it', 'large'), await readFile(file))
  await writeFile(path.join(from, 'empty'), '')
  await writeFile(path.join(from, 'übung.txt'), 'text')
  const sharing = await begin(t, ['share', from], 'share-folder.ts')
  const [, key, address] = await sharing.says(/fetch ([0-9a-f]{64}) (127\.0\.0\.1:\d+)/)
  const fetched = await (await begin(t, ['fetch', key!, address!, to], 'share-folder.ts')).ended
  t.deepEqual([fetched.code, fetched.error, fetched.left], [0, '', []])
  t.ok((await readFile(path.join(to, 'below', 'it', 'large'))).equals(bytes), 'the same bytes')
  t.equal(await readFile(path.join(to, 'empty'), 'utf8'), '')
  t.equal(await readFile(path.join(to, 'übung.txt'), 'utf8'), 'text')

  const again = await (await begin(t, ['fetch', key!, address!, to], 'share-folder.ts')).ended
  t.deepEqual([again.code, /is not empty/.test(again.error)], [2, true], 'nothing is written over')
  await endsWell(t, sharing)
  const refused = await (await begin(t, ['fetch', key!, address!, `${to}2`], 'share-folder.ts')).ended
  t.equal(refused.code, 1)
  t.match(refused.error, /^Nothing listens at this address \(.*\) \(ERR_CONNECTION_REFUSED\)\n$/)
})

test('examples: a chat', async (t) => {
  const ada = await begin(t, ['Ada'], 'chat.ts')
  const [, address] = await ada.says(/chat\.ts NAME (127\.0\.0\.1:\d+)/)
  const bob = await begin(t, ['Bob', address!], 'chat.ts')
  await bob.says(/Connected/)
  ada.types('hello\n')
  await bob.says(/Ada: hello/)
  bob.types('good day\nhow are you?\n')
  await ada.says(/Bob: good day\n(.*\n)*Bob: how are you\?/)
  await endsWell(t, ada)
  await endsWell(t, bob)
})

test('examples: a log with many readers', async (t) => {
  const file = path.join(await temporaryFolder(t), 'a.log')
  await writeFile(file, Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join(''))
  const serving = await begin(t, ['serve', file], 'tail-log.ts')
  const [, key, address] = await serving.says(/follow ([0-9a-f]{64}) (127\.0\.0\.1:\d+)/)
  // A reader that comes before the lines do would wait for an empty log.
  const readers = await Promise.all(
    ['3', '1'].map((last) => begin(t, ['follow', key!, address!, '--last', last], 'tail-log.ts'))
  )
  await Promise.all(readers.map((reader) => reader.says(/line 99\n/)))
  await appendFile(file, 'half a line, ')
  await appendFile(file, 'and its end: grüße\nanother\n')
  await Promise.all(readers.map((reader) => reader.says(/half a line, and its end: grüße\nanother\n/)))
  const [three] = readers as [Running, Running]
  t.deepEqual((await endsWell(t, three)).split('\n').slice(0, 3), ['line 97', 'line 98', 'line 99'])
  await endsWell(t, readers[1]!)
  await endsWell(t, serving)
})

test('examples: ranges of a large file by HTTP', async (t) => {
  const { file, bytes } = await someFile(t, 3_000_000)
  const publishing = await begin(t, ['publish', file], 'http-range.ts')
  const [, key, address] = await publishing.says(/serve ([0-9a-f]{64}) (127\.0\.0\.1:\d+)/)
  const serving = await begin(t, ['serve', key!, address!], 'http-range.ts')
  const [, url] = await serving.says(/(http:\/\/127\.0\.0\.1:\d+\/), 3000000 bytes/)
  const get = async (range: string | null, method = 'GET') => {
    const response = await fetch(url!, { method, headers: range === null ? {} : { range } })
    const body = Buffer.from(await response.arrayBuffer())
    return { status: response.status, told: response.headers.get('content-range'), body }
  }
  const part = await get('bytes=1000000-1000999')
  t.deepEqual([part.status, part.told], [206, 'bytes 1000000-1000999/3000000'])
  t.ok(part.body.equals(bytes.subarray(1000000, 1001000)))
  const [, here] = await serving.says(/(\d+) of 46 blocks are here/)
  t.ok(Number(here) <= 2, 'no more than was needed')
  const end = await get('bytes=-100')
  t.deepEqual([end.status, end.told], [206, 'bytes 2999900-2999999/3000000'])
  t.ok(end.body.equals(bytes.subarray(-100)))
  t.ok((await get('bytes=2999999-')).body.equals(bytes.subarray(-1)))
  const beyond = await get('bytes=3000000-')
  t.deepEqual([beyond.status, beyond.told], [416, 'bytes */3000000'])
  t.equal((await get(null, 'HEAD')).body.length, 0)
  t.equal((await get(null, 'POST')).status, 405)
  const whole = await get('lines=1-2')
  t.equal(whole.status, 200, 'what is no range of bytes')
  t.ok(whole.body.equals(bytes))
  await endsWell(t, serving)
  await endsWell(t, publishing)
})

test('examples: over a network of the application’s own', async (t) => {
  const { code, out, left } = await (await begin(t, [], 'libp2p.ts')).ended
  t.deepEqual([code, left], [0, []])
  t.match(out, /^over\nwhatever\nthere is\n\d+ bytes came over libp2p\n$/)
})

/** Ctrl-C, and what was said until then. */
async function endsWell(t: Test, running: Running): Promise<string> {
  running.kill('SIGINT')
  const { code, out, error, left } = await running.ended
  t.deepEqual([code, error, left], [0, '', []], 'Ctrl-C ends it, and nothing is left behind')
  return out
}
