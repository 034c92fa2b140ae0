#!/usr/bin/env node
// Committed JavaScript, so that it is there to be linked at install, before anything was built. An installed package brings
// what is built along; in a clone of the repository the first run builds it.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const main = new URL('../dist/main.js', import.meta.url)
const root = fileURLToPath(new URL('../../../', import.meta.url))

if (!existsSync(main) && existsSync(new URL('../../../scripts/bundle.mjs', import.meta.url))) {
  console.error('Building ddatabase, this once ...')
  const { stdout, stderr } = spawnSync('npm run build && npm run build:packages', { cwd: root, shell: true })
  if (!existsSync(main)) console.error(`${stdout}${stderr}`)
}
if (existsSync(main)) await import(main.href)
else {
  console.error(
    `ddatabase is not built: run \`npm install && npm run build && npm run build:packages\` in ${root}`
  )
  process.exitCode = 1
}
