/** Forks that are remembered from one opening to the next. */
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type Test } from 'tape'
import { leafHash, signable, treeHash } from '../../src/crypto/hash.ts'
import { sign } from '../../src/crypto/keys.ts'
import ddatabase, { type Feed, type ForkProof, type SignedHead, verifyFork } from '../../src/index.ts'
import { forkToText } from '../../src/merkle/fork.ts'
import { directoryStorage } from '../../src/storage/directory.ts'
import { failure } from '../feed/feeds.ts'
import type { FeedFace } from '../helpers/feed-face.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { published } from '../helpers/published.ts'
import { OURS } from '../helpers/replication-subjects.ts'
import { within } from '../helpers/watchdog.ts'
import { Author, branch } from './branches.ts'

const COMMON = branch('both', 0, 4)

/** A folder with a copy of one branch, and others to meet. */
class Scene {
  readonly author: Author
  readonly folder: string

  private constructor(author: Author, folder: string) {
    this.author = author
    this.folder = folder
  }

  static async make(t: Test): Promise<Scene> {
    const scene = new Scene(new Author(t, OURS), path.join(await temporaryFolder(t), 'feed'))
    const writer = await scene.author.device(COMMON, branch('a', 4, 3))
    const { feed, close } = await scene.open()
    await within(
      join(feed, writer, () => feed.downloaded() === 7),
      'the download'
    )
    await close()
    return scene
  }

  get file(): string {
    return path.join(this.folder, 'forks')
  }

  /** Opens the copy; `told` are the forks that are remembered. */
  async open(options: object = {}): Promise<{ feed: Feed; told: ForkProof[]; close: () => Promise<void> }> {
    const feed = ddatabase(this.folder, Buffer.from(this.author.key), options)
    const told: ForkProof[] = []
    const early: number[] = []
    feed.on('fork', (proof) => told.push(proof))
    feed.on('ready', () => early.push(told.length))
    await within(feed.ready(), 'ready')
    if (early[0] !== told.length) throw new Error('told after ready')
    return { feed, told, close: () => feed.close() }
  }

  /** Lets the copy meet another branch, and closes it. */
  async meets(name: string, count: number, options: object = {}): Promise<ForkProof[]> {
    const { feed, told, close } = await this.open(options)
    const other = await this.author.device(COMMON, branch(name, 4, count))
    const before = told.length
    const met = new Promise<void>((resolve) => feed.on('fork', () => resolve()))
    await within(
      join(feed, other, () => met),
      'the fork'
    )
    await close()
    return told.slice(before)
  }
}

/** Connects a feed until something has happened. */
async function join(feed: Feed, other: FeedFace, over: () => boolean | Promise<void>): Promise<void> {
  const stream = feed.replicate(true, { live: true })
  const remote = (other.feed as unknown as Feed).replicate(false, { live: true })
  stream.on('error', () => {})
  remote.on('error', () => {})
  remote.pipe(stream).pipe(remote)
  for (;;) {
    const done = over()
    if (typeof done !== 'boolean') await done
    if (done) break
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  stream.destroy()
  remote.destroy()
}

test('remembered forks: told again at each opening', async (t) => {
  const scene = await Scene.make(t)
  t.notOk((await readdir(scene.folder)).includes('forks'), 'no file without a fork')
  const [one] = await scene.meets('b', 3)
  t.ok(verifyFork(one, scene.author.key))
  const again = await scene.open()
  t.deepEqual(again.told, [one])
  t.deepEqual(again.feed.forks, [one])
  await again.close()

  const [two] = await scene.meets('c', 9)
  const both = await scene.open()
  t.deepEqual(both.told, [one, two], 'a further one is added')
  t.deepEqual(await both.feed.audit(), { valid: 7, invalid: 0 })
  await both.close()

  const other = published(scene.folder, scene.author.key)
  await other.ready()
  t.equal(other.downloaded(), 7, 'the published package does not mind the file')
  await other.close()
  await scene.author.close()
})

test('remembered forks: the same branch is not told twice, however long it is by then', async (t) => {
  const scene = await Scene.make(t)
  const [one] = await scene.meets('b', 2)
  const { feed, told, close } = await scene.open()
  for (const count of [2, 3, 9]) {
    const other = await scene.author.device(COMMON, branch('b', 4, count))
    const stream = feed.replicate(true, { live: true })
    const remote = (other.feed as unknown as Feed).replicate(false, { live: true })
    const end = new Promise((resolve) => {
      stream.on('error', resolve)
      remote.on('error', resolve)
    })
    remote.pipe(stream).pipe(remote)
    const error = (await within(end, 'the end')) as { code?: string }
    t.equal(error.code, 'ERR_FORK', `${4 + count} blocks`)
  }
  t.deepEqual(told, [one])
  await close()
  await scene.author.close()
})

test('remembered forks: a damaged or forged file is not believed, and what holds is', async (t) => {
  const scene = await Scene.make(t)
  const [one] = await scene.meets('b', 3)
  const text = await readFile(scene.file, 'utf8')
  const forged = text.replace(/"signature":"[0-9a-f]{2}/, (was) =>
    was.endsWith('00') ? '"signature":"01' : '"signature":"00'
  )
  const cases: Record<string, [content: string | Buffer, remembered: number]> = {
    cut: [text.slice(0, text.length / 2), 0],
    'without its end': [text.trimEnd(), 1],
    empty: ['', 0],
    'not text': [Buffer.alloc(500, 0xff), 0],
    forged: [forged, 0],
    'forged, then true': [`${forged}${text}`, 1],
    'cut, then true': [`${text.slice(0, 100)}\n${text}`, 1],
    'something else': ['{"heads":5}\n[]\nnull\n', 0]
  }
  for (const [what, [content, count]] of Object.entries(cases)) {
    await writeFile(scene.file, content)
    const { told, close } = await scene.open()
    t.deepEqual(told, count === 1 ? [one] : [], what)
    await close()
  }
  await writeFile(scene.file, text.slice(0, 100))
  const [two] = await scene.meets('c', 3)
  const { told, close } = await scene.open()
  t.deepEqual(told, [two], 'what comes behind a torn end is found')
  await close()
  await scene.author.close()
})

test('remembered forks: no more than sixteen', async (t) => {
  const scene = await Scene.make(t)
  const { publicKey, secretKey } = scene.author.pair
  const headOf = (block: string): SignedHead => {
    const leaf = { index: 0, hash: leafHash(Buffer.from(block)), size: block.length }
    return {
      length: 1,
      roots: [leaf],
      signature: sign(signable(treeHash([leaf]), 1), secretKey),
      nodes: [leaf]
    }
  }
  for (let i = 0; i < 30; i++) {
    const proof: ForkProof = { heads: [headOf('kept'), headOf(`other ${i}`)] }
    t.ok(verifyFork(proof, publicKey))
    for (let twice = 0; twice < 2; twice++) await appendFile(scene.file, `${forkToText(proof)}\n`)
  }
  const { told, feed, close } = await scene.open()
  t.equal(told.length, 16)
  t.equal(new Set(told.map(forkToText)).size, 16, 'each once')
  await join(feed, await scene.author.device(COMMON, branch('b', 4, 3)), () => feed.peers.length === 0)
  t.equal(feed.forks.length, 16, 'a further one is refused all the same, and not kept')
  await close()
  await scene.author.close()
})

test('remembered forks: gone with the storage, and with the history', async (t) => {
  const scene = await Scene.make(t)
  await scene.meets('b', 3)
  const overwriting = await scene.open({ overwrite: true })
  t.deepEqual(overwriting.told, [])
  t.notOk((await readdir(scene.folder)).includes('forks'))
  await overwriting.close()

  const second = await Scene.make(t)
  await second.meets('b', 3)
  const { feed } = await second.open()
  await feed.destroyStorage()
  t.deepEqual(await readdir(second.folder).catch(() => []), [], 'nothing is left')
  await scene.author.close()
  await second.author.close()
})

test('a feed that is overwritten, and whose forks cannot be removed, is closed again and can be opened', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'feed')
  const before = ddatabase(folder)
  await before.append('x')
  await before.close()
  const directory = directoryStorage(folder)
  let fails = true
  let early: ReturnType<typeof failure> | null = null
  const create = (name: string, options?: object) => {
    const file = directory(name, options as never)
    if (name === 'forks' && fails) {
      const error = Object.assign(new Error('once'), { code: 'EIO' })
      file.unlink = (callback) => {
        early = failure(feed.append('too early'))
        // Time for what does not wait for the opening.
        setTimeout(callback, 30, error)
      }
    }
    return file
  }
  const feed = ddatabase(Object.assign(create, directory) as never, { overwrite: true })
  feed.on('error', () => {})
  const opening = failure(feed.ready())
  t.equal((await opening).code, 'ERR_STORAGE')
  t.equal(
    (await within(early!, 'the append')).code,
    'ERR_STORAGE',
    'nothing is appended to what will be emptied again'
  )
  fails = false
  await within(feed.ready(), 'the second opening')
  t.equal(await feed.append('y'), 0)
  await feed.close()
})
