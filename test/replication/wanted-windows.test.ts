/** How a remote's Wants are answered, whatever they ask for. */
import test from 'tape'
import { Bitfield } from '../../src/bitfield/bitfield.ts'
import { PAGE_SIZE, Pages } from '../../src/bitfield/pages.ts'
import { decode } from '../../src/bitfield/rle.ts'
import { WantedWindows } from '../../src/replication/wanted-windows.ts'
import { WINDOW } from '../../src/replication/wants.ts'
import { until } from '../helpers/replication-feeds.ts'

interface Have {
  start: number
  length?: number
  bitfield?: Uint8Array
}

/** A feed that has these ranges of blocks, and what a remote hears of it. */
function telling(ranges: readonly [number, number][]) {
  const bits = new Bitfield(new Pages(PAGE_SIZE))
  for (const [start, end] of ranges) bits.setRange(start, end, true)
  const heard: Have[] = []
  const peer = {
    limits: { wants: 65536 },
    backedUp: false,
    closed: false,
    uploading: true,
    destroyed: null as Error | null,
    destroy(error: Error) {
      peer.destroyed = error
    },
    source: { content: { length: ranges[ranges.length - 1]![1], bits }, settling: () => null },
    stream: { have: (message: Have) => void heard.push(message) }
  }
  return { windows: new WantedWindows(peer as never), heard, peer, bits }
}

/** The blocks told of, by bitfields. */
function told(heard: readonly Have[]): [number, number][] {
  const ranges: [number, number][] = []
  for (const { start, bitfield } of heard) {
    if (bitfield === undefined) continue
    const bytes = decode(bitfield, WINDOW / 8)
    for (let i = 0; i < 8 * bytes.byteLength; i++) {
      if ((bytes[i >> 3]! & (0x80 >> (i & 7))) === 0) continue
      const last = ranges[ranges.length - 1]
      if (last !== undefined && last[1] === start + i) last[1]++
      else ranges.push([start + i, start + i + 1])
    }
  }
  return ranges
}

const RANGES: [number, number][] = [
  [5, 9],
  [WINDOW - 2, WINDOW + 2],
  [40 * WINDOW + 8192, 40 * WINDOW + 8200],
  [41 * WINDOW + 77, 41 * WINDOW + 78]
]

for (const [what, length] of [
  ['everything, as old peers do', 0],
  ['more than there could be', 2 ** 40]
] as const) {
  test(`wants: for ${what}: a window at a time, and all of it`, async (t) => {
    const { windows, heard } = telling(RANGES)
    windows.want({ start: 0, length })
    t.equal(heard.length, 2, 'at once: the end, and the first window')
    t.deepEqual([heard[1]!.start, heard[1]!.length], [0, length], 'as it was asked for')
    await until(() => told(heard).length === RANGES.length, 'the rest')
    t.deepEqual(told(heard), RANGES)
    t.equal(heard.length, 4, 'nothing is told of windows without a block')
  })
}

test('wants: what is left waits until the remote reads again', async (t) => {
  const { windows, heard, peer } = telling(RANGES)
  windows.want({ start: 0, length: 2 ** 40 })
  peer.backedUp = true
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(heard.length, 2)
  peer.backedUp = false
  windows.resume()
  await until(() => told(heard).length === RANGES.length, 'the rest')
  t.deepEqual(told(heard), RANGES)
})

test('wants: where the rest cannot be read, that one connection ends', async (t) => {
  const { windows, heard, peer, bits } = telling(RANGES)
  windows.want({ start: 0, length: 0 })
  bits.firstPresent = () => {
    throw new Error('the storage failed')
  }
  await until(() => peer.destroyed !== null, 'the end')
  t.equal(peer.destroyed!.message, 'the storage failed')
  t.equal(heard.length, 2)
})

test('wants: nothing more is told when nothing is uploaded any more', async (t) => {
  const { windows, heard, peer } = telling(RANGES)
  windows.want({ start: 0, length: 0 })
  peer.uploading = false
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  t.equal(heard.length, 2)
})

test('wants: one window is answered as it was asked for', (t) => {
  const { windows, heard, bits } = telling(RANGES)
  windows.want({ start: 40 * WINDOW, length: WINDOW })
  t.deepEqual(heard[1], {
    start: 40 * WINDOW,
    length: WINDOW,
    bitfield: bits.compress(40 * WINDOW, WINDOW)
  })
  windows.want({ start: 8192, length: 0 })
  t.deepEqual(heard[2], { start: 8192, length: 0, bitfield: bits.compress(8192, 0) })
  t.end()
})
