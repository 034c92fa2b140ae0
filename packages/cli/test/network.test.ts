/** share, clone, sync, peers and reading by key: over TCP and WebSockets, and what goes wrong there. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import type { WriteStream } from 'node:tty'
import ddatabase, { DDatabaseError, type Peer } from 'ddatabase'
import { Swarm } from 'ddatabase-swarm'
import RAM from 'random-access-memory'
import test, { type Test } from 'tape'
import { onFullDisk } from '../../../test/helpers/full-disk.ts'
import { halfway } from '../../../test/helpers/halfway.ts'
import { rejection, within } from '../../../test/helpers/watchdog.ts'
import { Network } from '../src/network.ts'
import { Output } from '../src/output.ts'
import {
  begin,
  type Ended,
  environment,
  fails,
  json,
  PATIENCE,
  PROGRAM,
  run,
  shared,
  someFeed,
  someFile,
  temporaryFolder
} from './helpers.ts'

const KEY = /[0-9a-f]{64}/

/** A shared feed of random bytes in blocks of 64 KiB. */
async function someShared(
  t: Test,
  size: number
): Promise<{ dir: string; key: string; address: string; only: string[]; stop(): Promise<string> }> {
  const { file } = await someFile(t, size)
  const { dir, key } = await someFeed(t, [])
  await json(t, ['append', dir, '--file', file])
  const { address, running } = await shared(t, dir)
  const stop = async (): Promise<string> => {
    running.child.kill('SIGINT')
    const { code, out, error } = await running.ended
    t.equal(code, 0, `share ends well: ${error}`)
    return out + error
  }
  return { dir, key, address, only: ['--connect', address, '--no-swarm'], stop }
}

test('share and clone: the line that is printed is the line that works', async (t) => {
  const { dir, key } = await someFeed(t)
  const running = begin(t, ['share', dir, '--host', '127.0.0.1', '--no-swarm'])
  const [line] = await running.says(/^ddatabase clone .* --no-swarm$/m)
  t.match(line, KEY, 'it has the key')
  const folder = await temporaryFolder(t)
  const words = line
    .split(' ')
    .slice(1)
    .map((word) => (word === './copy.feed' ? path.join(folder, 'copy') : word))
  const { code, out, error } = await run(t, words)
  t.equal(code, 0, error)
  t.match(out, /^all of 3 blocks in .*copy: 3 blocks fetched and checked, 10 bytes in \d+\.\d s\.$/m, 'told')
  t.equal((await run(t, ['cat', path.join(folder, 'copy')])).out, 'zero\none\ntwo\n', 'the same blocks')
  t.equal((await json(t, ['info', path.join(folder, 'copy')])).key, key)
  running.child.kill('SIGINT')
  const ended = await running.ended
  t.match(ended.error, /^3 blocks given to others, 10 bytes\.$/m, 'share tells what it gave')
  t.notOk(ended.error.includes('error:'), 'without an error')
  const byNpx = begin(t, ['share', dir, '--host', '127.0.0.1', '--no-swarm'], {
    env: { npm_command: 'exec' }
  })
  t.ok(await byNpx.says(/^npx ddatabase clone .* --no-swarm$/m), 'who runs it by npx types it the same way')
})

test('clone: --range and --sparse; sync fetches the rest', async (t) => {
  const { key, only, stop } = await someShared(t, 640_000)
  const dir = path.join(await temporaryFolder(t), 'copy')
  const sparse = await json(t, ['clone', key, dir, '--sparse', ...only])
  t.same([sparse.length, sparse.byteLength, sparse.present], [10, 640_000, 0], 'only its length')
  t.equal((await json(t, ['info', dir])).length, 10, 'which stays')
  const range = await json(t, ['sync', dir, '--range', '2..5', ...only])
  t.same([range.present, range.fetchedBlocks], [3, 3], 'three blocks')
  await fails(t, ['sync', dir, '--range', '9..12', ...only], 8, /has 10 blocks, so there is no block 11/)
  const all = await json(t, ['sync', dir, ...only])
  t.same([all.complete, all.fetchedBlocks], [true, 7], 'the rest, and nothing twice')
  t.same(await json(t, ['audit', dir]), {
    dir,
    valid: 10,
    invalid: 0,
    length: 10,
    damage: [],
    repaired: [],
    forks: 0
  })
  t.equal((await json(t, ['sync', dir, ...only])).fetchedBlocks, 0, 'nothing is missing')
  await stop()
})

test('clone goes on where it was, and a damaged copy is made whole', async (t) => {
  const { dir: source, key, address, only, stop } = await someShared(t, 40_000_000)
  const dir = path.join(await temporaryFolder(t), 'copy')
  // A quarter of it each time, and then nothing more: none of them can be done before it is ended.
  const half = async (): Promise<string[]> => {
    const port = await halfway(t, address.split(':')[1]!, 10_000_000)
    return ['--connect', `127.0.0.1:${port}`, '--no-swarm', '--timeout', '300']
  }
  const killed = begin(t, ['clone', key, dir, ...(await half())])
  await killed.says(/fetching [1-9]0%/)
  killed.child.kill('SIGKILL')
  await killed.ended
  const { present } = await json(t, ['info', dir])
  t.ok(present > 0 && present < 611, `${present} blocks were here when it was killed`)
  if (process.platform !== 'win32') {
    const interrupted = begin(t, ['sync', dir, ...(await half())])
    await interrupted.says(/fetching [2-9]0%/)
    interrupted.child.kill('SIGINT')
    const { code, error } = await interrupted.ended
    t.equal(code, 130, 'Ctrl-C: exit code')
    t.match(error, /^error: Interrupted; `ddatabase sync .*` goes on with what is here\.$/m)
  }
  const before = (await json(t, ['info', dir])).present
  const { fetchedBlocks, complete } = await json(t, ['clone', key, dir, ...only])
  t.same([fetchedBlocks, complete], [611 - before, true], 'only what was missing')

  const data = await readFile(path.join(dir, 'data'))
  data[70_000]! ^= 1
  data[20_000_000]! ^= 1
  await writeFile(path.join(dir, 'data'), data)
  const audited = await run(t, ['audit', dir])
  t.equal(audited.code, 6, 'damage is found')
  t.match(audited.out, /^609 blocks valid, 2 invalid, of 611/)
  t.equal((await json(t, ['sync', dir, ...only])).fetchedBlocks, 2, 'and fetched again')
  t.equal((await run(t, ['audit', dir])).code, 0, 'whole')
  await stop()
  t.ok(
    (await readFile(path.join(dir, 'data'))).equals(await readFile(path.join(source, 'data'))),
    'the same bytes'
  )
})

test('clone --range --live: of a range that ends no more is fetched', async (t) => {
  const { dir, key } = await someFeed(t, ['zero', 'one', 'two', 'three', 'four'])
  const { address } = await shared(t, dir)
  const copy = path.join(await temporaryFolder(t), 'copy')
  const only = ['--connect', address, '--no-swarm']
  const following = begin(t, ['clone', key, copy, '--range', '1..3', '--live', ...only])
  await following.says(/Following the feed/)
  // It would come at once.
  await new Promise((resolve) => setTimeout(resolve, 1000))
  following.child.kill('SIGINT')
  t.equal((await following.ended).code, 0)
  t.equal((await json(t, ['info', copy])).present, 2)
})

test('clone --live follows, until Ctrl-C', async (t) => {
  const { dir, key } = await someFeed(t)
  const first = await shared(t, dir, ['--no-swarm', '--port', '0'])
  const copy = path.join(await temporaryFolder(t), 'copy')
  const port = first.address.split(':')[1]!
  const following = begin(t, ['clone', key, copy, '--live', '--connect', first.address, '--no-swarm'])
  await following.says(/Following the feed/)
  // The author goes, appends, and is back: the connection is made anew.
  first.running.child.kill('SIGINT')
  await first.running.ended
  await json(t, ['append', dir, '--encoding', 'utf-8', 'three'])
  const { running } = await shared(t, dir, ['--no-swarm', '--port', port])
  await following.says(/Block 3 has come, 5 bytes/)
  following.child.kill('SIGINT')
  t.equal((await following.ended).code, 0, 'Ctrl-C is its ordinary end')
  await running.says(/it was given 1 block, 5 bytes/)
  t.equal((await run(t, ['get', copy, '3'])).out, 'three\n', 'it came')
})

test('reading by key: cat, get, seek, export, peers', async (t) => {
  const { dir, key } = await someFeed(t)
  const { address } = await shared(t, dir)
  const only = ['--connect', address, '--no-swarm']
  t.equal((await run(t, ['cat', key, ...only])).out, 'zero\none\ntwo\n', 'cat')
  t.equal((await run(t, ['get', key, '1', '--raw', ...only])).out, 'one', 'get')
  t.same(await json(t, ['seek', key, '5', ...only]), { byte: 5, index: 1, offset: 1 }, 'seek')
  const file = path.join(await temporaryFolder(t), 'out')
  await json(t, ['export', key, file, ...only])
  t.equal(await readFile(file, 'utf8'), 'zeroonetwo', 'export')
  const { peers } = await json(t, ['peers', dir, '--wait', '0.2', ...only])
  t.equal(peers.length, 1, 'one peer of a folder that is in use')
  t.same([peers[0].address, peers[0].kind, peers[0].length], [address, 'tcp', 3])
  t.match(
    (await run(t, ['peers', key, '--wait', '0.2', ...only])).out,
    /^ADDRESS +KIND +HAS +PEER\n127\.0\.0\.1:\d+ +tcp +3 blocks +[0-9a-f]{16}\n$/
  )
  await fails(t, ['get', key, '3', ...only], 8, /has 3 blocks, so there is no block 3/)
})

test('cat KEY --follow prints what is appended elsewhere', async (t) => {
  const { dir, key } = await someFeed(t)
  const first = await shared(t, dir)
  const [, port] = first.address.split(':')
  const cat = begin(t, ['cat', key, '--tail', '1', '--follow', '--connect', first.address, '--no-swarm'])
  await cat.says(/^two$/m)
  first.running.child.kill('SIGINT')
  await first.running.ended
  await json(t, ['append', dir, '--encoding', 'utf-8', 'three'])
  await shared(t, dir, ['--no-swarm', '--port', port!])
  await cat.says(/^three$/m)
  cat.child.kill('SIGINT')
  const { code, out } = await cat.ended
  t.same([code, out], [0, 'two\nthree\n'], 'Ctrl-C is its ordinary end')
})

if (process.platform !== 'win32') {
  test('peers: Ctrl-C before its time is over', async (t) => {
    const { dir, key } = await someFeed(t)
    const { address, running } = await shared(t, dir)
    const looking = begin(t, ['peers', key, '--wait', '600', '--connect', address, '--no-swarm'])
    await running.says(/A peer has come/)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    looking.child.kill('SIGINT')
    const { code, out, error } = await looking.ended
    t.equal(code, 130)
    t.match(out, /^ADDRESS .*\n127\.0\.0\.1:\d+ +tcp/, 'what was found is told')
    t.match(error, /^error: Interrupted; there may be more peers, run it again\.$/m)
  })

  test('events: whoever reads them goes', async (t) => {
    const author = ddatabase(RAM)
    t.teardown(() => author.close())
    await author.append('zero')
    const swarm = new Swarm({ dht: false, host: '127.0.0.1' })
    t.teardown(() => swarm.close())
    swarm.join(author)
    const { address } = await swarm.listen()
    const copy = path.join(await temporaryFolder(t), 'copy')
    const key = Buffer.from(author.key!).toString('hex')
    const only = ['--connect', address, '--no-swarm', '--live', '--json']
    const following = begin(t, ['clone', key, copy, ...only])
    await following.says(/"fetchedBlocks":1/)
    following.child.stdout.destroy()
    await author.append('one')
    const followed = await following.ended
    t.same([followed.code, followed.error], [141, ''], 'clone --live')

    const sharing = begin(t, ['share', copy, '--host', '127.0.0.1', '--no-swarm', '--json'])
    const [line] = await sharing.says(/^\{"event":"sharing".*$/m)
    sharing.child.stdout.destroy()
    const [{ address: shared }] = JSON.parse(line).listening
    // It ends with the first peer, which gets nothing of it.
    await run(t, ['clone', key, `${copy} of it`, '--connect', shared, '--no-swarm', '--timeout', '1'])
    const { code, error } = await sharing.ended
    t.same([code, error], [141, ''], 'share')
  })
}

test('WebSockets', async (t) => {
  const { dir, key } = await someFeed(t)
  const running = begin(t, ['share', dir, '--host', '127.0.0.1', '--no-swarm', '--ws', '--json'])
  const [line] = await running.says(/^\{"event":"sharing".*$/m)
  const { listening } = JSON.parse(line)
  const { address } = listening.find(({ websocket }: { websocket: boolean }) => websocket)
  t.match(address, /^ws:\/\/127\.0\.0\.1:\d+$/)
  const copy = path.join(await temporaryFolder(t), 'copy')
  const { complete } = await json(t, ['clone', key, copy, '--connect', address, '--no-swarm'])
  t.ok(complete, 'cloned')
  running.child.kill('SIGINT')
  const { out } = await running.ended
  const events = out
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text))
  t.same(
    events.map(({ event }) => event),
    ['sharing', 'peer', 'peer-remove', 'end'],
    'events in JSON'
  )
  t.equal(events.at(-1).uploadedBlocks, 3)
})

test('what goes wrong between peers', async (t) => {
  const { dir, key } = await someFeed(t)
  const { address } = await shared(t, dir)
  const [, port] = address.split(':')
  const folder = await temporaryFolder(t)
  const copy = path.join(folder, 'copy')
  const other = `${key[0] === '0' ? '1' : '0'}${key.slice(1)}`
  await fails(
    t,
    ['clone', other, copy, '--connect', address, '--no-swarm'],
    5,
    /does not have this feed; check the key/
  )
  t.same(await readdir(folder), [], 'nothing is in the way of the right key')
  await fails(t, ['clone', key.slice(1), copy], 2, /is no key: a key has 64/)
  await fails(t, ['clone', key, copy, '--no-swarm'], 2, /add --connect host:port/)
  await fails(t, ['clone', key, copy, '--connect', 'nonsense', '--no-swarm'], 2, /is no address/)
  await fails(t, ['clone', key, copy, '--connect', address, '--timeout', 'x'], 2, /--timeout should be/)
  await fails(t, ['clone', key, copy, '--bootstrap', 'x'], 2, /is no node of a swarm/)

  const { dir: second } = await someFeed(t)
  await fails(
    t,
    ['share', second, '--host', '127.0.0.1', '--no-swarm', '--port', port!],
    5,
    /port is in use by another program; choose another one with --port/
  )
  await fails(t, ['inspect', second, '--no-open', '--port', port!], 5, /port is in use by another program/)
  const elsewhere = ['share', second, '--host', '203.0.113.9', '--no-swarm']
  await fails(t, elsewhere, 5, /This machine does not have that address; choose another one with --host/)
  for (const words of [
    ['clone', key, copy],
    ['cat', key],
    ['inspect', second, '--no-open']
  ]) {
    const only = ['--host', '203.0.113.9', '--connect', address, '--no-swarm']
    await fails(
      t,
      [...words, ...only],
      5,
      /203\.0\.113\.9 cannot be used: .*; choose another one with --host/
    )
  }
  await fails(t, ['share', second, '--port', '70000'], 2, /--port should be a port/)

  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const free = (closed.address() as { port: number }).port
  await new Promise((resolve) => closed.close(resolve))
  const nobody = ['--connect', `127.0.0.1:${free}`, '--no-swarm']
  await fails(t, ['clone', key, copy, ...nobody], 5, /Nothing listens at 127\.0\.0\.1:\d+; check the address/)
  await fails(t, ['cat', key, ...nobody], 5, /Nothing listens at/)
  t.same(await readdir(folder), [], 'nothing is left')
  await mkdir(copy)
  await fails(t, ['clone', key, copy, ...nobody], 5, /Nothing listens at/)
  t.same(await readdir(copy), [], 'but the folder that was there before')

  await json(t, ['clone', key, copy, '--connect', address, '--no-swarm', '--host', '127.0.0.1'])
  await fails(
    t,
    ['clone', other, copy, '--connect', address, '--no-swarm'],
    3,
    /holds a feed with another key/
  )
  await fails(t, ['append', copy, 'x'], 3, /is a copy: only where its secret key is/)
  await fails(
    t,
    ['clone', key, second, '--connect', address, '--no-swarm'],
    3,
    /holds a feed with another key/
  )
})

test('peers that do not have the rest are not waited for for ever', async (t) => {
  const { dir, key } = await someFeed(t)
  const copy = path.join(await temporaryFolder(t), 'copy')
  {
    const { address, running } = await shared(t, dir)
    await json(t, ['clone', key, copy, '--range', '1', '--connect', address, '--no-swarm'])
    running.child.kill('SIGINT')
    await running.ended
  }
  const { address } = await shared(t, copy)
  const second = path.join(await temporaryFolder(t), 'second')
  const only = ['--connect', address, '--no-swarm', '--timeout', '1']
  await fails(
    t,
    ['clone', key, second, ...only],
    5,
    /connected peer does not have the rest, .*; `ddatabase sync .*` goes on with what is here/
  )
  t.equal((await json(t, ['info', second])).present, 1, 'what it had is here')
})

test('--timeout: peers that come and go are not waited for for ever', async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as { port: number }
  const [stdout, stderr] = [new PassThrough(), new PassThrough()] as unknown as WriteStream[]
  const { signal } = new AbortController()
  const out = new Output(
    { stdout: stdout!, stderr: stderr! },
    { json: false, quiet: false, color: false, signal }
  )
  const args = {
    timeout: '1',
    swarm: false,
    connect: [`127.0.0.1:${port}`],
    bootstrap: undefined,
    host: undefined,
    json: false,
    quiet: false,
    debug: false
  }
  const waits: Record<string, (network: Network) => Promise<unknown>> = {
    'for the length': (network) => network.learnLength(() => 'run it again'),
    'for a block': (network) => network.patiently(new Promise(() => {}), () => 'run it again')
  }
  for (const [what, wait] of Object.entries(waits)) {
    const feed = ddatabase(RAM, Buffer.alloc(32, 7), { sparse: true })
    await feed.ready()
    const peer = { stream: { stream: {} } } as unknown as Peer
    const coming = setInterval(() => feed.emit('peer-open', peer), 100)
    t.teardown(() => clearInterval(coming))
    // It goes before it has told anything.
    feed.update = (async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      feed.emit('peer-remove', peer)
      throw new DDatabaseError('ERR_UPDATE_NOT_AVAILABLE')
    }) as typeof feed.update
    const network = await Network.join(feed, args, { out, signal, stdin: process.stdin })
    const error = await rejection(within(network.during(wait), what), what)
    t.match(error.message, /found in 1 s|did not send it for 1 s/, what)
    clearInterval(coming)
    await feed.close()
  }
})

if (process.platform === 'linux') {
  test('a full disk: nothing is lost, and it goes on when there is space', async (t) => {
    const { dir, key } = await someFeed(t)
    const before = await readFile(path.join(dir, 'data'))
    const full = path.join(await temporaryFolder(t), 'full')
    const { address } = await shared(t, dir)
    const only = ['--connect', address, '--no-swarm']
    await json(t, ['clone', key, full, '--sparse', ...only])
    await onFullDisk(path.join(full, 'data'), () =>
      fails(
        t,
        ['sync', full, ...only],
        7,
        /There is no space left for .*full; make some and run it again, it goes on where it was/
      )
    )
    t.equal((await json(t, ['sync', full, ...only])).fetchedBlocks, 3, 'all of it, afterwards')
    t.same(await readFile(path.join(full, 'data')), before, 'the same bytes')

    const { dir: own } = await someFeed(t, [])
    await onFullDisk(path.join(own, 'data'), () =>
      fails(t, ['append', own, 'x'], 7, /There is no space left for .*; make some and run it again\./)
    )
    t.equal((await json(t, ['append', own, '"x"'])).first, 0, 'the feed is whole')
  })

  test('cat KEY --follow: what was read is not kept, and not fetched again from the next peer', async (t) => {
    const author = ddatabase(RAM)
    t.teardown(() => author.close())
    const blocks = 24
    for (let i = 0; i < blocks; i++) await author.append(Buffer.alloc(1_000_000, i))
    const serve = async (port: number): Promise<{ swarm: Swarm; port: number; address: string }> => {
      const swarm = new Swarm({ dht: false, host: '127.0.0.1' })
      t.teardown(() => swarm.close())
      swarm.join(author)
      const listener = await swarm.listen({ port })
      return { swarm, port: listener.port, address: listener.address }
    }
    const first = await serve(0)
    const key = Buffer.from(author.key!).toString('hex')
    const temporary = await temporaryFolder(t)
    const args = ['cat', key, '--follow', '--raw', '--connect', first.address, '--no-swarm']
    const cat = begin(t, args, { env: { TMPDIR: temporary } })
    let bytes = 0
    cat.child.stdout.on('data', (text: string) => {
      bytes += text.length
    })
    const come = async (all: number): Promise<void> => {
      while (bytes < all) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await within(come(blocks * 1_000_000), 'all blocks', PATIENCE)
    await first.swarm.close()
    await serve(first.port)
    await author.append(Buffer.alloc(1_000_000))
    await within(come((blocks + 1) * 1_000_000), 'another block', PATIENCE)
    const [folder] = (await readdir(temporary)).filter((name) => name.startsWith('ddatabase-'))
    const kept = 512 * (await stat(path.join(temporary, folder!, 'data'))).blocks
    t.ok(kept < 10_000_000, `${kept} bytes of ${bytes} are on the disk`)
    t.equal(author.stats!.totals.uploadedBlocks, blocks + 1, 'each block was fetched once')
    cat.child.kill('SIGINT')
    t.equal((await cat.ended).code, 0)
  })

  test('cat KEY: no more is fetched than a slow reader gets to soon', async (t) => {
    const author = ddatabase(RAM)
    t.teardown(() => author.close())
    for (let i = 0; i < 150; i++) await author.append(Buffer.alloc(1_000_000, i % 100))
    const swarm = new Swarm({ dht: false, host: '127.0.0.1' })
    t.teardown(() => swarm.close())
    swarm.join(author)
    const { address } = await swarm.listen()
    const key = Buffer.from(author.key!).toString('hex')
    const cat = begin(t, ['cat', key, '--raw', '--connect', address, '--no-swarm'])
    cat.child.stdout.pause()
    const uploaded = (): number => author.stats!.totals.uploadedBlocks
    const come = async (): Promise<void> => {
      while (uploaded() < 60) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await within(come(), 'the blocks ahead', PATIENCE)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    t.ok(uploaded() < 100, `${uploaded()} blocks of 1 MB`)
    cat.child.stdout.resume()
    const { code, out } = await cat.ended
    t.same([code, out.length, uploaded()], [0, 150_000_000, 150], 'all of them in the end, each once')
  })

  test('a disk that is full while a feed is followed', async (t) => {
    const author = ddatabase(RAM)
    t.teardown(() => author.close())
    await author.append('zero')
    const swarm = new Swarm({ dht: false, host: '127.0.0.1' })
    t.teardown(() => swarm.close())
    swarm.join(author)
    const { address } = await swarm.listen()
    const key = Buffer.from(author.key!).toString('hex')
    const only = ['--connect', address, '--no-swarm']
    const copy = path.join(await temporaryFolder(t), 'copy')
    for (const words of [
      ['clone', key, copy, '--live'],
      ['cat', key, '--follow', '--raw']
    ]) {
      const args = [process.execPath, ...PROGRAM, ...words, ...only]
      const child = spawn('/bin/sh', ['-c', `ulimit -f 600; trap '' XFSZ; exec "$0" "$@"`, ...args], {
        env: environment(),
        stdio: ['ignore', 'pipe', 'ignore']
      })
      t.teardown(() => child.kill('SIGKILL'))
      const ended = new Promise((resolve) => child.on('exit', resolve))
      // The result, or the first block.
      await within(
        new Promise<void>((resolve) => child.stdout.once('data', () => resolve())),
        'the beginning'
      )
      child.stdout.resume()
      for (let i = 0; child.exitCode === null && i < 600; i++) {
        await author.append(Buffer.alloc(60_000, i))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      t.equal(await within(ended, 'the end'), 7, words[0])
    }
  })

  test('a file that may not grow: the same, and the one that is told is the one that was written', async (t) => {
    const { key, only, stop } = await someShared(t, 3_000_000)
    const folder = await temporaryFolder(t)
    const limited = (words: string[], input = ''): Ended => {
      const script = `ulimit -f 2000; trap '' XFSZ; exec "$0" "$@"`
      const args = ['-c', script, process.execPath, ...PROGRAM, ...words]
      const { status, stdout, stderr } = spawnSync('/bin/sh', args, {
        env: environment(),
        encoding: 'utf8',
        input
      })
      return { code: status, out: stdout, error: stderr }
    }
    const copy = path.join(folder, 'copy')
    const cloned = limited(['clone', key, copy, ...only])
    t.equal(cloned.code, 7, 'exit code')
    t.match(cloned.error, /^error: A file of .*copy would be larger than the system allows; .*\.$/m)
    t.ok((await json(t, ['clone', key, copy, ...only])).complete, 'without the limit it goes on')
    t.equal((await run(t, ['audit', copy])).code, 0, 'and all of it is whole')
    const out = path.join(folder, 'out')
    const exported = limited(['export', copy, out])
    t.equal(exported.code, 7, 'exit code')
    t.match(exported.error, /^error: A file of .*out would be larger than the system allows; .*\.$/m)
    t.same(await readdir(folder), ['copy'], 'nothing half written')
    const own = path.join(folder, 'own')
    await json(t, ['create', own])
    const appended = limited(['append', own], `${'x'.repeat(99)}\n`.repeat(20_000))
    t.equal(appended.code, 7, 'exit code')
    t.match(appended.out, /^Blocks 0 to [0-9]+\.$/m, 'what got there is told')
    t.match(
      appended.error,
      /own would be larger than the system allows; raise that limit and append the rest\.$/m
    )
    await rm(own, { recursive: true })
    await json(t, ['export', copy, out])
    t.ok((await readFile(out)).equals(await readFile(path.join(copy, 'data'))), 'whole')
    await stop()
  })
}
