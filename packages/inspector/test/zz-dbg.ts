import { bundlePage } from '../scripts/page.ts'
import { inspectWith } from '../src/inspect.ts'
import { startScene } from './helpers/scene.ts'

console.log('start')
const scene = await startScene({ writing: false })
console.log('scene')
const inspector = await inspectWith(await bundlePage(), [{ feed: scene.copy, name: 'Readings, copy' }])
for (const p of [
  '',
  'page/main.js',
  'page/style.css',
  'api/feeds',
  'api/feeds/0/map?start=0&span=8&cells=10'
]) {
  const r = await fetch(inspector.url + p)
  console.log(p, r.status, (await r.text()).slice(0, 200))
}
await inspector.close()
console.log('closed')
await scene.close()
console.log('done')
