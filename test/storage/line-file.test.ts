/** The small files of lines beside those of the format. */
import test from 'tape'
import { LineFile } from '../../src/storage/line-file.ts'
import { memory } from '../feed/feeds.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'

test('line file: lines that are added at once are all there, whole', async (t) => {
  const files = new MemoryFiles()
  const file = new LineFile(memory(files) as never, 'lines')
  const lines = Array.from({ length: 12 }, (_, i) => `${i}${'.'.repeat(40 - 3 * i)}`)
  await file.add('first')
  await Promise.all(lines.map((line) => file.add(line)))
  t.deepEqual(await file.load(), ['first', ...lines])
})

test('line file: what is added after one that was cut is a line of its own', async (t) => {
  const files = new MemoryFiles()
  const file = new LineFile(memory(files) as never, 'lines')
  await file.add('first')
  await file.add('second')
  files.put('lines', files.read('lines')!.subarray(0, -3))
  await file.add('third')
  t.deepEqual(await file.load(), ['first', 'seco', 'third'])
})
