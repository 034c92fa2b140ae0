#!/usr/bin/env node
// Committed JavaScript, so that it is there to be linked at install, before anything was built.
import { existsSync } from 'node:fs'

const main = new URL('../dist/main.js', import.meta.url)

if (existsSync(main)) {
  await import(main.href)
} else {
  console.error('ddatabase is not built yet: run `npm install` (or `npm run prepare`) in the clone first.')
  process.exitCode = 1
}
