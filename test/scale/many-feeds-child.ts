/**
 * A process with many feeds and few descriptors: opens so many feeds in the folder of its first argument as the second says,
 * writes to and reads from all of them, one after the other, at random, and all at once; closes and opens them again. With
 * `untold` it cannot find out how many descriptors it may have. Tells what went wrong, the most descriptors that it had
 * at the moments when it looked, and how many are left, as JSON.
 */
import fs, { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import ddatabase from '../../src/index.ts'
import { SeededRandom } from '../helpers/seeded-random.ts'

const [folder = '', count = '0', limit = 'told'] = process.argv.slice(2)
const random = new SeededRandom(4711)
const wrong: string[] = []
let most = 0

if (limit === 'untold') {
  const { readFileSync } = fs
  fs.readFileSync = ((file: string, ...rest: []) =>
    readFileSync(file === '/proc/self/limits' ? '/does/not/exist' : file, ...rest)) as typeof readFileSync
}

function descriptors(): number {
  return existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0
}

function look(): void {
  most = Math.max(most, descriptors())
}

function open(i: number): ReturnType<typeof ddatabase> {
  return ddatabase(path.join(folder, String(i)), { durability: i % 50 === 0 ? 'disk' : 'process' })
}

const blockOf = (feed: number, block: number): string =>
  `feed ${feed}, block ${block} `.repeat(1 + (block % 40))

async function check(i: number, block: number): Promise<void> {
  const stored = String(await feeds[i]!.get(block))
  if (stored !== blockOf(i, block)) wrong.push(`${blockOf(i, block)} is ${stored}`)
}

const append = (i: number): Promise<unknown> => feeds[i]!.append(blockOf(i, feeds[i]!.length))

let feeds = Array.from({ length: Number(count) }, (_, i) => open(i))
const all = feeds.map((_, i) => i)
await Promise.all(feeds.map((feed) => feed.ready()))
look()
for (const i of all) await append(i)
look()
await Promise.all(all.map(append))
look()
for (let n = 0; n < 2 * feeds.length; n++) {
  const i = random.below(feeds.length)
  if (random.chance(0.4)) await append(i)
  else await check(i, random.below(feeds[i]!.length))
}
look()
await Promise.all(feeds.map((feed) => feed.flush()))
look()
const lengths = feeds.map((feed) => feed.length)
await Promise.all(feeds.map((feed) => feed.close()))
feeds = all.map(open)
await Promise.all(feeds.map((feed) => feed.ready()))
look()
for (const i of all)
  if (feeds[i]!.length !== lengths[i]) wrong.push(`feed ${i} has ${feeds[i]!.length} blocks`)
await Promise.all(
  all.map(async (i) => {
    for (let block = 0; block < lengths[i]!; block++) await check(i, block)
  })
)
look()
await Promise.all(feeds.map((feed) => feed.close()))
console.log(JSON.stringify({ wrong, most, left: descriptors() }))
