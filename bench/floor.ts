/**
 * What this machine takes for the least that the rows of large transfers cannot do without: hashing, sealing, reading, writing, sockets.
 *
 *     node --import tsx bench/floor.ts [folder on a disk]
 *
 * Each piece is timed by itself, in turns with the others, with nothing around it: no events, no requests, no messages, no copies. Their sum
 * is the floor for one processor; half of it, but no less than the longest piece, that for two which never wait for each other. Beside them
 * is what the last complete run (`results.json`) took.
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { markdownTable } from 'markdown-table'
import * as wasm from '../src/crypto/backend.browser.ts'
import * as native from '../src/crypto/backend.ts'
import { HashInput } from '../src/crypto/hash-input.ts'
import { makeRunFolder, removeFolder } from './harness/folder.ts'
import type { Results } from './harness/results.ts'

/** Does a piece for about so many bytes of blocks; answers for how many it did. */
type Piece = (bytes: number) => number | Promise<number>

const KIB = 1024
const MIB = 1024 * KIB
const ROUNDS = 5
const BYTES_A_ROUND = 64 * MIB
const BLOCK_SIZES = [512, 16 * KIB, 64 * KIB]
const RUN = 64 * KIB
const COMMIT = MIB
// Two nodes for each block.
const NODES = 80
const PREFIX = 9

const folder = makeRunFolder(process.argv[2], false)
const source = join(folder, 'source')
let files = 0

function fill(path: string): void {
  const file = openSync(path, 'w')
  const bytes = new Uint8Array(COMMIT)
  native.randomFill(bytes)
  for (let at = 0; at < BYTES_A_ROUND; at += COMMIT) writeSync(file, bytes, 0, COMMIT, at)
  closeSync(file)
}

/** Does `once` for every so many bytes; answers for how many blocks that was. */
function repeat(bytes: number, every: number, size: number, once: () => void): number {
  for (let done = 0; done < bytes; done += every) once()
  return bytes / size
}

function hashing(backend: Pick<typeof native, 'blake2bBatch'>, size: number): Piece {
  const inputs = [new Uint8Array(PREFIX), new Uint8Array(size)]
  const out = Buffer.alloc(32)
  return (bytes) => repeat(bytes, size, size, () => backend.blake2bBatch(out, inputs))
}

/** Hashes `bytes` bytes for each block, in one piece and past the wrapper. */
function hashingSmall(bytes: number, size: number): Piece {
  const input = new HashInput(Buffer.alloc(PREFIX + bytes))
  const out = Buffer.alloc(32)
  return (total) => repeat(total, size, size, () => native.blake2bInto(out, 0, input, PREFIX + bytes))
}

/** Into files that stay, so that the system has to find memory for them, as for a feed that grows. */
function writing(size: number, perWrite: number): Piece {
  const bytes = Buffer.alloc(perWrite)
  return (total) => {
    const count = Math.ceil(total / size)
    const file = openSync(join(folder, `written-${files++}`), 'w')
    for (let at = 0; at < count * size; at += perWrite) writeSync(file, bytes, 0, perWrite, at)
    closeSync(file)
    return count
  }
}

function reading(size: number): Piece {
  const target = Buffer.alloc(RUN)
  return (total) => {
    const file = openSync(source, 'r')
    for (let at = 0; at < total; at += RUN) readSync(file, target, 0, RUN, at)
    closeSync(file)
    return total / size
  }
}

async function loopback(): Promise<{ from: Socket; to: Socket; end(): void }> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve())
  })
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const from = connect((server.address() as AddressInfo).port, '127.0.0.1').setNoDelay(true)
  const to = await accepted
  server.close()
  return { from, to, end: () => from.destroy() && to.destroy() }
}

/** Pieces of 64 KiB, as a stream writes them, with one more on the way while one is read. */
function sending(from: Socket, to: Socket, size: number): Piece {
  const chunk = Buffer.alloc(RUN)
  return (total) =>
    new Promise((resolve) => {
      let sent = 0
      let received = 0
      const send = () => {
        while (sent < total && sent - received < 4 * RUN) {
          from.write(chunk)
          sent += RUN
        }
      }
      const take = ({ byteLength }: Buffer) => {
        received += byteLength
        if (received < total) return send()
        to.off('data', take)
        resolve(total / size)
      }
      to.on('data', take)
      send()
    })
}

/** Microseconds of each piece for one block: the median of the rounds. */
async function time(pieces: Map<string, Piece>): Promise<Map<string, number>> {
  const times = new Map([...pieces.keys()].map((name) => [name, [] as number[]]))
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, piece] of pieces) {
      const start = performance.now()
      const blocks = await piece(BYTES_A_ROUND)
      const took = ((performance.now() - start) * 1000) / blocks
      // The first round warms up.
      if (round >= 0) times.get(name)!.push(took)
    }
  }
  return new Map([...times].map(([name, all]) => [name, all.sort((a, b) => a - b)[ROUNDS >> 1]!]))
}

function piecesFor(size: number, link: { from: Socket; to: Socket }): Map<string, Piece> {
  const key = Buffer.alloc(32)
  const nonce = Buffer.alloc(12)
  const plain = Buffer.alloc(RUN)
  const sealed = Buffer.alloc(RUN + native.AEAD_TAG_SIZE)
  native.aeadEncrypt(sealed, plain, null, nonce, key)
  const cipher = new native.XSalsa20(key, Buffer.alloc(24))
  const leaf: [string, Piece][] =
    size <= KIB
      ? [['leaf', hashingSmall(size, size)]]
      : [
          ['leaf, libsodium', hashing(native, size)],
          ['leaf, WebAssembly', hashing(wasm, size)]
        ]
  return new Map<string, Piece>([
    ...leaf,
    ['parent', hashingSmall(64, size)],
    ['seal', (bytes) => repeat(bytes, RUN, size, () => native.aeadEncrypt(sealed, plain, null, nonce, key))],
    ['open', (bytes) => repeat(bytes, RUN, size, () => native.aeadDecrypt(plain, sealed, null, nonce, key))],
    ['XSalsa20', (bytes) => repeat(bytes, RUN, size, () => cipher.update(plain, plain))],
    ['read', reading(size)],
    ['write', writing(size, COMMIT)],
    ['write nodes', writing(NODES, (COMMIT / size) * NODES)],
    ['socket', sending(link.from, link.to, size)]
  ])
}

const hash = ['leaf', 'parent']
const store = ['write', 'write nodes']
const copy = ['read', ...hash, 'seal', 'open', ...hash, ...store]
/** Size of the blocks and the pieces of each row. Verifying at both ends hashes twice. */
const rows: Record<string, [size: number, pieces: readonly string[]]> = {
  'append-batch-64k': [64 * KIB, [...hash, ...store]],
  'replicate-memory-512': [512, copy],
  'replicate-memory-16k': [16 * KIB, copy],
  'replicate-memory-64k': [64 * KIB, copy],
  'replicate-memory-16k-legacy': [16 * KIB, ['read', 'XSalsa20', 'XSalsa20', ...hash, ...store]],
  'replicate-memory-64k-legacy': [64 * KIB, ['read', 'XSalsa20', 'XSalsa20', ...hash, ...store]],
  'replicate-tcp-16k': [16 * KIB, [...copy, 'socket']]
}

function floors(costs: Map<number, Map<string, number>>): string[][] {
  const { rows: measured } = JSON.parse(
    readFileSync(fileURLToPath(new URL('results.json', import.meta.url)), 'utf8')
  ) as Results
  return Object.entries(rows).map(([name, [size, parts]]) => {
    const each = parts.map((part) => costs.get(size)!.get(part)!)
    const one = each.reduce((sum, cost) => sum + cost, 0)
    const two = Math.max(one / 2, ...each)
    const wall = (subject: string) =>
      measured.find((row) => row.name === name)?.subjects.find((found) => found.subject === subject)?.figures
        ?.wall ?? Number.NaN
    const published = wall('published')
    const figures = [one, two, published, wall('ours')].map((figure) => figure.toPrecision(3))
    const ratios = [published / one, published / two, published / wall('ours')].map((ratio) =>
      ratio.toFixed(2)
    )
    return [name, ...figures, ...ratios]
  })
}

try {
  fill(source)
  await wasm.ready()
  const link = await loopback()
  const costs = new Map<number, Map<string, number>>()
  for (const size of BLOCK_SIZES) {
    const cost = await time(piecesFor(size, link))
    const hashes = [...cost].filter(([name]) => name.startsWith('leaf')).map(([, took]) => took)
    costs.set(size, cost.set('leaf', Math.min(...hashes)))
  }
  link.end()
  const names = [...new Set([...costs.values()].flatMap((cost) => [...cost.keys()]))]
  const line = (name: string) => [
    name,
    ...BLOCK_SIZES.map((size) => costs.get(size)!.get(name)?.toPrecision(3) ?? '–')
  ]
  console.log(markdownTable([['µs a block', '512 B', '16 KB', '64 KB'], ...names.map(line)]))
  const head = ['row', 'floor, one', 'two', 'published', 'ours', 'published ÷ one', '÷ two', '÷ ours']
  console.log(`\n${markdownTable([head, ...floors(costs)])}`)
} finally {
  removeFolder(folder)
}
