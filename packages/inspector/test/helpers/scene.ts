/** Feeds at work, for the window to look into: an author that goes on writing, a copy on its way, a copy of the copy. */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { deflateSync } from 'node:zlib'
import ddatabase, { type Feed } from 'ddatabase'
import { pipeline, Transform } from 'streamx'

/** What a block of the scene holds that a browser would like to run. */
export const HOSTILE = `<!doctype html><script>document.title='taken over'</script>
<img src="x" onerror="document.title='taken over'"><svg onload="document.title='taken over'"></svg>
<iframe src="javascript:parent.document.title='taken over'"></iframe>{{constructor.constructor('alert(1)')()}}`

/** Places of the special blocks. */
export const BLOCKS = { text: 0, json: 1, picture: 2, hostile: 3, vector: 4, false: 5, binary: 6 }

/** Feeds that replicate with each other. */
export interface Scene {
  author: Feed<Uint8Array>
  copy: Feed<Uint8Array>
  sparse: Feed<Uint8Array>
  /** The folder of the feeds: `author`, `copy`, `sparse`. */
  folder: string
  close(): Promise<void>
}

/** Starts it. @param blocks - of the author, to begin with; `pause` is between two chunks on the way to the copy, in ms */
export async function startScene({ blocks = 2000, pause = 4, writing = true } = {}): Promise<Scene> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-inspector-'))
  const author = ddatabase(path.join(folder, 'author'))
  await author.append(specialBlocks())
  const readings = Array.from({ length: blocks - author.length }, (_, i) => reading(i))
  await author.append(readings)
  const copy = ddatabase(path.join(folder, 'copy'), author.key)
  const sparse = ddatabase(path.join(folder, 'sparse'), author.key, { sparse: true })
  await Promise.all([copy.ready(), sparse.ready()])
  const slow = () =>
    new Transform({
      transform: (chunk: Uint8Array, done: (error: null, chunk: Uint8Array) => void) =>
        setTimeout(() => done(null, chunk), pause)
    })
  connect(author, copy, slow())
  connect(copy, sparse, slow())
  let next = blocks
  const timer = writing
    ? setInterval(() => {
        author.append(reading(next++)).catch(() => {})
        if (next % 3 === 0) sparse.download({ start: next - 60, end: next - 40 })
      }, 150)
    : undefined
  return {
    author,
    copy,
    sparse,
    folder,
    async close() {
      clearInterval(timer)
      for (const feed of [sparse, copy, author]) await feed.close()
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

/** What may be put between two feeds: from the first time on that `when` holds nothing passes, until it is released. */
export function gate(when: () => boolean): { between: Transform; release(): void } {
  let go = (): void => {}
  const released = new Promise<void>((resolve) => {
    go = resolve
  })
  const between = new Transform({
    transform(chunk: Uint8Array, done: (error: null, chunk: Uint8Array) => void) {
      if (when()) released.then(() => done(null, chunk))
      else done(null, chunk)
    }
  })
  return { between, release: () => go() }
}

/** Lets two feeds replicate; what goes from `left` to `right` passes through `between`. */
export function connect(left: Feed<Uint8Array>, right: Feed<Uint8Array>, between?: Transform): void {
  // However long a test takes to look at it, none of them gives up the other.
  const a = left.replicate(true, { live: true, timeout: false })
  const b = right.replicate(false, { live: true, timeout: false })
  // How a connection ends is of no interest here.
  const ended = () => {}
  if (between === undefined) pipeline(a, b, a, ended)
  else pipeline(a, between, b, a, ended)
}

function specialBlocks(): Buffer[] {
  return [
    Buffer.from('A log that everybody can check.\nThe second line has a needle in it: Nadelöhr ✓'),
    Buffer.from(
      JSON.stringify({ station: 'attic', celsius: 31.5, tags: ['roof', 'south'], nested: { deep: true } })
    ),
    picture(),
    Buffer.from(HOSTILE),
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg"><script>parent.document.title="taken over"</script></svg>'
    ),
    // Begins like a picture, goes on as a page.
    Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.from(HOSTILE)]),
    Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7 + (i >> 4)) & 0xff))
  ]
}

function reading(i: number): Buffer {
  const celsius = Math.round(150 + 80 * Math.sin(i / 40)) / 10
  const value = { at: new Date(1_750_000_000_000 + i * 60_000).toISOString(), sensor: `s${i % 12}`, celsius }
  return Buffer.from(`${JSON.stringify(value)}${' '.repeat((i * 37) % 900)}`)
}

/** A picture of 96 × 64 pixels, in colours. */
export function picture(): Buffer {
  const [width, height] = [96, 64]
  const rows = Buffer.alloc(height * (1 + 3 * width))
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rows.set([(x * 255) / width, (y * 255) / height, 160 - ((x ^ y) & 63)], y * (1 + 3 * width) + 1 + 3 * x)
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0))
  ])
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), content])
  const size = Buffer.alloc(4)
  size.writeUInt32BE(content.byteLength)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([size, body, sum])
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xedb88320
  }
  return (crc ^ 0xffffffff) >>> 0
}
