#!/usr/bin/env node
// Committed JavaScript, so that it is there to be linked at install, before anything was built. An installed package brings
// what is built along; in a clone of the repository the first run builds it.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const main = new URL('../dist/main.js', import.meta.url)
const root = fileURLToPath(new URL('../../../', import.meta.url))
const builder = fileURLToPath(new URL('../../../scripts/build-to-run.mjs', import.meta.url))

if (!existsSync(main) && existsSync(builder)) {
  console.error('Building ddatabase, this once ...')
  const { stdout, stderr } = spawnSync(process.execPath, [builder], { cwd: root })
  if (!existsSync(main)) console.error(`${stdout}${stderr}`)
}
if (existsSync(main)) await import(main.href)
else {
  console.error(
    `ddatabase is not built: run \`npm install && npm run build && npm run build:packages\` in ${root}`
  )
  process.exitCode = 1
}
