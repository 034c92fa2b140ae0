/**
 * A feed of 2^33 blocks that are all alike, served to a sparse copy in memory.
 *
 *     node --expose-gc --import tsx bench/scale/simulated.ts [log2 of the length, 33] [blocks to fetch, 10000]
 */
import ddatabase from '../../src/index.ts'
import { SeededRandom } from '../../test/helpers/seeded-random.ts'
import { copyInMemory, fetchSparsely } from '../../test/scale/fetching.ts'
import { SimulatedFeed } from '../../test/scale/simulated-feed.ts'
import { Meter } from './tools.ts'

const [power = '33', count = '10000'] = process.argv.slice(2)
const simulated = new SimulatedFeed(2 ** Number(power))
const opening = new Meter()
const source = ddatabase(simulated.storage, simulated.key)
await source.ready()
console.log(opening.line(`${source.length} blocks opened`, 1))
const fetching = new Meter()
const { target, disconnect } = await copyInMemory(source)
const { blocks, wrong } = await fetchSparsely(target, simulated, Number(count), new SeededRandom(1))
console.log(fetching.line(`${blocks} blocks fetched, ${wrong.length} wrong`, blocks))
const auditing = new Meter()
console.log(JSON.stringify(await target.audit()))
console.log(auditing.line('audited', blocks))
console.log('bytes read of the simulated files:', JSON.stringify(simulated.read))
await disconnect()
await Promise.all([target.close(), source.close()])
