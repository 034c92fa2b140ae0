/** Files that are lost, cut, emptied or foreign: a feed that heals, one whose damage is noticed when it is used, or a code. */
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import { blake2bBatch } from '../../src/crypto/backend.ts'
import ddatabase, { DDatabaseError, type Feed } from '../../src/index.ts'
import { failure, memory } from '../feed/feeds.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { type MemoryFiles, SIX_FILES } from '../helpers/memory-files.ts'
import { SeededRandom, seedFromEnvironment } from '../helpers/seeded-random.ts'
import { within } from '../helpers/watchdog.ts'
import { answers, BLOCKS, expected, opened, storedAuthor, storedCopy, storedStatic } from './stored.ts'

test('opening: the bitfield is lost, cut to its header, or empty', async (t) => {
  const author = await storedAuthor()
  for (const [name, base] of Object.entries({
    author,
    copy: await storedCopy(author),
    static: await storedStatic()
  })) {
    for (const left of [null, new Uint8Array(0), base.read('bitfield')!.subarray(0, 32)]) {
      const files = base.clone()
      files.put('bitfield', left)
      const feed = await opened(files)
      const what = `${name}, ${left?.byteLength ?? 'no'} bytes`
      t.deepEqual(await answers(feed, { wait: false }), expected(), what)
      t.equal(feed.recovery?.length, BLOCKS.length, 'it is told')
      await feed.close()
      const again = await opened(files)
      t.equal(again.recovery, null, 'once')
      await again.close()
    }
  }
})

test('opening: the signatures are lost', async (t) => {
  const files = await storedAuthor()
  files.put('signatures', null)
  const feed = await opened(files)
  t.deepEqual(await answers(feed), expected())
  const { repaired } = await feed.audit({ repair: true })
  t.equal(repaired.length > 0, true, 'the author signs its end')
  const { signature } = await feed.signature()
  t.equal(await feed.verify(BLOCKS.length - 1, signature), true)
  await feed.close()
})

test('opening: the signature of the end is damaged', async (t) => {
  const author = await storedAuthor()
  for (const [name, base] of Object.entries({ author, copy: await storedCopy(author) })) {
    const files = base.clone()
    const at = 32 + 64 * (BLOCKS.length - 1)
    const bytes = Buffer.from(files.read('signatures')!)
    bytes[at + 9]! ^= 8
    files.put('signatures', bytes)
    if (name === 'author') {
      const feed = await opened(files)
      t.deepEqual(await answers(feed), expected(), 'the author makes it again')
      t.equal(feed.recovery?.signed, true)
      t.deepEqual(files.read('signatures'), base.read('signatures'))
      await feed.close()
      continue
    }
    const refused = await failure(ddatabase(memory(files)).ready())
    t.deepEqual([refused.code, refused.damage?.[0]?.file], ['ERR_FEED_DAMAGED', 'signatures'])
    const feed = await opened(files, { repair: true })
    t.deepEqual([feed.length, feed.downloaded()], [0, 0], 'a copy has nothing else that proves it')
    await feed.close()
  }
})

// What may become of a feed whose files were changed in one place.
test('opening: one change in any file', async (t) => {
  const seed = seedFromEnvironment(77)
  const random = new SeededRandom(seed)
  const author = await storedAuthor()
  const kinds = {
    author,
    copy: await storedCopy(author),
    sparse: await storedCopy(author, [0, 3, 4, 19, 36]),
    static: await storedStatic()
  }
  const honest = { author, copy: author, sparse: author, static: kinds.static }
  for (const [name, base] of Object.entries(kinds)) {
    for (const file of SIX_FILES) {
      const content = base.read(file)
      if (content === null) continue
      for (const change of ['bit', 'bit', 'bit', 'cut', 'zeros', 'lost', 'empty', 'longer']) {
        const files = base.clone()
        const at = random.below(content.byteLength)
        const bytes = Buffer.from(content)
        if (change === 'bit') bytes[at]! ^= 1 << random.below(8)
        if (change === 'zeros') bytes.fill(0, at, Math.min(bytes.byteLength, at + 64))
        if (change === 'lost') files.put(file, null)
        else if (change === 'cut') files.put(file, bytes.subarray(0, at))
        else if (change === 'empty') files.put(file, new Uint8Array(0))
        else files.put(file, change === 'longer' ? Buffer.concat([bytes, random.bytes(90)]) : bytes)
        const secret = files.read('secret_key')
        const problems = await lookAt(files, base, honest[name as keyof typeof honest])
        const now = files.read('secret_key')
        if (secret !== null && Buffer.compare(secret, now ?? Buffer.alloc(0)) !== 0)
          problems.push('secret key')
        t.deepEqual(problems, [], `DDATABASE_SEED=${seed} ${name}, ${file}: ${change} at ${at}`)
      }
    }
  }
})

/** Opens, reads, audits, repairs, and lets an honest peer heal a feed. Answers what is wrong. */
async function lookAt(files: MemoryFiles, base: MemoryFiles, honest: MemoryFiles): Promise<string[]> {
  const problems: string[] = []
  const coded = (error: unknown): void => {
    const code = (error as { code?: unknown }).code
    if (typeof code !== 'string') problems.push(String((error as Error).stack))
  }
  const compare = async (feed: Feed): Promise<void> => {
    for (const [block, bytes] of BLOCKS.entries()) {
      const read = await within(feed.get(block, { wait: false }), `get(${block})`).catch(coded)
      if (read && Buffer.compare(read, bytes) !== 0) problems.push(`block ${block} is ${read}`)
    }
  }
  const feed = ddatabase(memory(files), { sparse: true, downloading: true })
  try {
    await within(feed.ready(), 'ready')
  } catch (error) {
    coded(error)
    await feed.close()
    return problems
  }
  if (Buffer.compare(feed.key!, base.read('key')!) !== 0) {
    // A key cannot tell that it is damaged where nothing was signed.
    if (feed.writable) problems.push('another identity')
    await feed.close()
    return problems
  }
  await compare(feed)
  await within(feed.audit({}), 'audit').catch(coded)
  await within(feed.audit({ repair: true }), 'repair').catch(coded)
  await compare(feed)
  if (feed.writable && feed.length < BLOCKS.length) {
    const appended = await feed.append('again').catch(coded)
    if (appended !== undefined) problems.push(`signed ${appended} once more`)
  }
  const source = await opened(honest.clone())
  const streams = [source.replicate(true, { live: true }), feed.replicate(false, { live: true })] as const
  for (const stream of streams) {
    stream.on('error', (error) => {
      if (DDatabaseError.is(error)) problems.push(`the stream ended with ${error.stack}`)
    })
  }
  streams[0].pipe(streams[1] as never)
  streams[1].pipe(streams[0] as never)
  if (!feed.writable || feed.length === BLOCKS.length) {
    for (const [block, bytes] of BLOCKS.entries()) {
      const read = await within(feed.get(block, { timeout: 4000 }), `get(${block})`).catch((error) => {
        problems.push(`get(${block}) beside a peer: ${error.code ?? error}`)
      })
      if (read && Buffer.compare(read, bytes) !== 0) problems.push(`block ${block} is ${read}`)
      if (problems.length > 0) break
    }
  }
  for (const stream of streams) stream.destroy()
  await Promise.all([feed.close(), source.close()])
  return problems
}

/** A frame of a checkpoint file, as anybody can make it who knows the public key. */
function frame(key: Uint8Array, kind: number, sequence: bigint, payload: Buffer): Buffer {
  const content = Buffer.alloc(24 + payload.byteLength)
  content.write('DDCP')
  content[4] = kind
  content[5] = 1
  content.writeBigUInt64BE(sequence, 8)
  content.writeBigUInt64BE(BigInt(payload.byteLength), 16)
  payload.copy(content, 24)
  const hash = Buffer.alloc(32)
  blake2bBatch(hash, [key, content])
  return Buffer.concat([content, hash])
}

/** The payload of a checkpoint with these numbers. */
function head(length: bigint, pages: bigint, pieces: Buffer = Buffer.alloc(0)): Buffer {
  const payload = Buffer.alloc(72)
  payload.writeBigUInt64BE(length, 0)
  payload.writeBigUInt64BE(length, 16)
  payload.writeBigUInt64BE(pages, 64)
  return Buffer.concat([payload, pieces])
}

test('opening: a checkpoint that somebody else has made', async (t) => {
  const HUGE = (1n << 64n) - 1n
  const run = Buffer.from([0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
  const payloads: Record<string, Buffer> = {
    'no payload': Buffer.alloc(0),
    'half a payload': head(5n, 1n).subarray(0, 40),
    'a huge length': head(HUGE, 1n, Buffer.alloc(4)),
    'a length that its pages cannot hold': head(9000n, 1n, Buffer.alloc(4)),
    'pages without end': head(5n, HUGE),
    'more pages than there are nodes': head(5n, 1n << 20n, Buffer.alloc(4 * 2048)),
    'a piece that is cut': head(5n, 1n, Buffer.from([0, 0, 9, 9, 1])),
    'a run without end': head(5n, 1n, run)
  }
  for (const [name, payload] of Object.entries(payloads)) {
    const folder = path.join(await temporaryFolder(t), 'feed')
    const feed = ddatabase(folder)
    await feed.append(BLOCKS)
    await feed.close()
    const { key } = feed
    for (const records of [
      [],
      [frame(key!, 1, 9n, Buffer.alloc(3))],
      [frame(key!, 2, 9n, Buffer.alloc(20))]
    ]) {
      await writeFile(
        path.join(folder, 'checkpoint.0'),
        Buffer.concat([frame(key!, 0, 9n, payload), ...records])
      )
      await writeFile(path.join(folder, 'checkpoint.1'), frame(key!, 0, HUGE, head(HUGE, HUGE)))
      const again = ddatabase(folder)
      await within(again.ready(), 'ready')
      const blocks = await again.getBatch(0, BLOCKS.length)
      t.deepEqual(hashOf(blocks), hashOf(BLOCKS), `${name}, ${records.length} records`)
      await again.close()
    }
    t.ok((await readdir(folder)).includes('key') && (await readFile(path.join(folder, 'key'))).equals(key!))
  }
})

function hashOf(blocks: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const block of blocks) hash.update(block)
  return hash.digest('hex')
}
