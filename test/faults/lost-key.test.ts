/**
 * A feed without blocks, in a directory, whose file `key` was emptied or removed: nothing that is stored is signed, and still it must not
 * become another feed.
 */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import { keyPair } from '../../src/crypto/keys.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { ours } from '../helpers/ours.ts'
import { published } from '../helpers/published.ts'
import { rejection } from '../helpers/watchdog.ts'

const open = ours()
const PAIR = keyPair(Buffer.alloc(32, 3))
const KEY = Buffer.from(PAIR.publicKey)
const SECRET = { secretKey: PAIR.secretKey }
const OTHER = keyPair(Buffer.alloc(32, 9))

const LOSSES: Record<string, (folder: string, name: string) => Promise<void>> = {
  emptied: (folder, name) => writeFile(path.join(folder, name), ''),
  zeroed: (folder, name) => writeFile(path.join(folder, name), Buffer.alloc(32)),
  removed: (folder, name) => rm(path.join(folder, name))
}

async function contents(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await readdir(folder))
    files[name] = (await readFile(path.join(folder, name))).toString('hex')
  return files
}

const MAKERS: Record<string, (folder: string) => FeedFace> = {
  'an author': (folder) => open(folder, KEY, SECRET),
  'a copy': (folder) => open(folder, KEY)
}

const ENDS = ['closed', 'killed'] as const

/** Makes a feed without blocks, and leaves it in a folder of its own. */
async function leave(
  root: string,
  make: (folder: string) => FeedFace,
  end: (typeof ENDS)[number]
): Promise<string> {
  const folder = path.join(root, 'feed')
  const feed = make(folder)
  await feed.ready()
  if (end === 'closed') {
    await feed.close()
    return folder
  }
  // What is in the files at this moment is what a process leaves that is killed.
  const left = path.join(root, 'left')
  await cp(folder, left, { recursive: true })
  await feed.close()
  return left
}

/** Opens the feed in a folder as it was, and appends to it if it is the author's. */
async function assertOpens(
  t: test.Test,
  folder: string,
  what: string,
  writable: boolean,
  given: Buffer | null = null,
  options: object = {}
): Promise<void> {
  const feed = open(folder, given, options)
  await feed.ready()
  t.deepEqual([feed.key.equals(KEY), feed.writable], [true, writable], what)
  t.ok((await readFile(path.join(folder, 'key'))).equals(KEY), `${what}: the file is whole again`)
  if (writable) t.equal(await feed.append('a block'), 0)
  await feed.close()
  const again = open(folder)
  await again.ready()
  t.deepEqual([again.key.equals(KEY), again.length], [true, writable ? 1 : 0], `${what}: opened again`)
  await again.close()
}

async function assertRefused(
  t: test.Test,
  folder: string,
  what: string,
  code: string,
  given: Buffer | null = null,
  options: object = {}
): Promise<void> {
  const before = await contents(folder)
  for (let i = 0; i < 2; i++) {
    const feed = open(folder, given, options)
    t.equal((await rejection(feed.ready(), what)).code, code, what)
    await feed.close().catch(() => {})
  }
  t.deepEqual(await contents(folder), before, `${what}: nothing was touched`)
}

for (const end of ENDS) {
  for (const [loss, lose] of Object.entries(LOSSES)) {
    test(`an author without blocks, ${end}, whose key is ${loss}`, async (t) => {
      const root = await temporaryFolder(t)
      const folder = await leave(root, MAKERS['an author']!, end)
      await lose(folder, 'key')
      const copies = ['given', 'other', 'secret', 'alone', 'both', 'cut'] as const
      const at = Object.fromEntries(copies.map((name) => [name, path.join(root, name)])) as Record<
        (typeof copies)[number],
        string
      >
      for (const name of copies) await cp(folder, at[name], { recursive: true })
      await assertOpens(t, folder, 'the secret key tells it', true)
      await assertOpens(t, at.given, 'with the key', true, KEY)
      await assertRefused(t, at.other, 'with another key', 'ERR_OTHER_FEED', Buffer.from(OTHER.publicKey))
      await writeFile(path.join(at.cut, 'secret_key'), PAIR.secretKey.subarray(0, 40))
      await assertRefused(t, at.cut, 'beside a secret key that is cut', 'ERR_SECRET_KEY_DAMAGED')
      await writeFile(path.join(at.secret, 'secret_key'), OTHER.secretKey)
      await assertRefused(t, at.secret, 'beside the secret key of another feed', 'ERR_KEY_DAMAGED')
      await rm(path.join(at.alone, 'secret_key'))
      await assertRefused(t, at.alone, 'without a secret key', 'ERR_KEY_DAMAGED')
      await assertOpens(t, at.alone, 'the secret key is given', true, null, SECRET)
      await writeFile(path.join(at.both, 'secret_key'), '')
      await assertRefused(t, at.both, 'beside an empty secret key', 'ERR_KEY_DAMAGED')
      await assertRefused(t, at.both, 'beside an empty one, with the key', 'ERR_SECRET_KEY_DAMAGED', KEY)
    })

    test(`a copy without blocks, ${end}, whose key is ${loss}`, async (t) => {
      const root = await temporaryFolder(t)
      const folder = await leave(root, MAKERS['a copy']!, end)
      await lose(folder, 'key')
      await assertRefused(t, folder, 'no key is given', 'ERR_KEY_DAMAGED')
      await assertRefused(t, folder, 'createIfMissing: false', 'ERR_KEY_DAMAGED', null, {
        createIfMissing: false
      })
      await assertRefused(t, folder, 'another key is given', 'ERR_KEY_DAMAGED', Buffer.from(OTHER.publicKey))
      await assertRefused(t, folder, 'another secret key is given', 'ERR_KEY_DAMAGED', null, {
        secretKey: OTHER.secretKey
      })
      const copy = path.join(root, 'copy')
      await cp(folder, copy, { recursive: true })
      await assertOpens(t, folder, 'its key is given', false, KEY)
      const other = open(copy, null, { repair: true })
      await other.append('the first block of another feed')
      t.equal(other.key.equals(KEY), false, 'with repair it is given up')
      await other.close()
      const again = open(copy)
      await again.ready()
      t.deepEqual([again.key.equals(other.key), again.length], [true, 1])
      await again.close()
    })
  }
}

test('a key that is gone beside blocks: refused, and restored with repair where something tells it', async (t) => {
  const root = await temporaryFolder(t)
  const folder = path.join(root, 'author')
  const author = open(folder, KEY, SECRET)
  await author.append(['a', 'b'])
  const copied = path.join(root, 'copy')
  const copy = open(copied, KEY)
  await copy.call('put', 1, 'b', await author.call('proof', 1))
  await copy.close()
  await author.close()
  for (const [loss, lose] of Object.entries(LOSSES)) {
    await lose(folder, 'key')
    await assertRefused(t, folder, `an author's, ${loss}`, 'ERR_KEY_MISSING')
    const again = open(folder, null, { repair: true })
    await again.ready()
    t.deepEqual([again.key.equals(KEY), again.length, again.writable], [true, 2, true], loss)
    await again.close()
    await lose(copied, 'key')
    await assertRefused(t, copied, `a copy's, ${loss}`, 'ERR_KEY_MISSING')
    await assertRefused(t, copied, `a copy's, ${loss}, with its key`, 'ERR_KEY_MISSING', KEY)
    await assertRefused(
      t,
      copied,
      `a copy's, ${loss}, with another key`,
      'ERR_KEY_MISSING',
      Buffer.from(OTHER.publicKey),
      {
        repair: true
      }
    )
    const mended = open(copied, KEY, { repair: true })
    t.equal(String(await mended.get(1)), 'b')
    await mended.close()
  }
})

test('folders that hold no feed are no lost ones', async (t) => {
  const root = await temporaryFolder(t)
  // Cut short before its key: whose it is nobody knows yet.
  const begun = path.join(root, 'begun')
  await rejection(open(begun, null, { createIfMissing: false }).ready(), 'createIfMissing: false')
  const first = open(begun)
  await first.append('x')
  await first.close()
  // Destroyed by somebody who knows no checkpoints.
  const destroyed = await leave(root, MAKERS['an author']!, 'closed')
  for (const name of await readdir(destroyed))
    if (!name.startsWith('checkpoint')) await rm(path.join(destroyed, name))
  const second = open(destroyed)
  await second.append('x')
  t.equal(second.key.equals(KEY), false, 'a new feed')
  await second.close()
  // Overwritten by somebody who knows no checkpoints.
  const overwritten = path.join(root, 'overwritten')
  await (await opened(open(overwritten, KEY))).close()
  const theirs = published(overwritten, null, { overwrite: true })
  await theirs.ready()
  await theirs.close()
  const third = open(overwritten)
  await third.append('x')
  t.deepEqual([third.key.equals(theirs.key), third.length], [true, 1])
  await third.close()
  const fourth = open(overwritten, null, { overwrite: true })
  await fourth.append('x')
  await fourth.close()
})

async function opened(feed: FeedFace): Promise<FeedFace> {
  await feed.ready()
  return feed
}

test('a creation that ended between its key and its checkpoint', async (t) => {
  const folder = await leave(await temporaryFolder(t), MAKERS['a copy']!, 'closed')
  for (const name of await readdir(folder))
    if (name.startsWith('checkpoint')) await rm(path.join(folder, name))
  await (await opened(open(folder))).close()
  await writeFile(path.join(folder, 'key'), '')
  await assertRefused(t, folder, 'the next opening has made it', 'ERR_KEY_DAMAGED')
})
