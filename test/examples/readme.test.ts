/**
 * Every `js` and `ts` block of the README is run, with the package as its users get it. A block that imports
 * `ddatabase` begins a program in an empty folder; the blocks of the section that follow go on with it. What a program
 * prints must be what its comments `// → …` say, in their order.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'tape'
import { type Staged, stage } from '../package/staging.ts'

const execute = promisify(execFile)

// The project that programs run in knows nothing of our tools.
const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

interface Program {
  name: string
  language: string
  code: string
}

/** The programs of a document. */
function programs(markdown: string): Program[] {
  const found: Program[] = []
  for (const section of markdown.split(/^## /m)) {
    const title = section.slice(0, section.indexOf('\n'))
    let current: Program | null = null
    for (const [, language, code] of section.matchAll(/^```(js|ts)\n(.*?)^```$/gms)) {
      if (current === null || /(?:from |require\()'ddatabase/.test(code!)) {
        current = { name: `${title} ${found.length + 1}`, language: language!, code: code! }
        found.push(current)
      } else {
        current.code += code!
      }
    }
  }
  return found
}

/** What the comments say that is printed. */
function announced(code: string): string {
  return [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => `${line}\n`).join('')
}

const README = programs(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))
let staged: Staged

test('readme: setup', async (t) => {
  staged = await stage()
  t.same([...new Set(README.map(({ language }) => language))].sort(), ['js', 'ts'], 'there are programs')
})

for (const { name, language, code } of README) {
  test(`readme: ${name}`, async (t) => {
    const folder = path.join(staged.folder, `readme ${name}`)
    const extension = language === 'ts' ? 'mts' : /^import /m.test(code) ? 'mjs' : 'cjs'
    const file = path.join(folder, `program.${extension}`)
    await mkdir(folder)
    await writeFile(file, code)
    const loader = language === 'ts' ? ['--import', LOADER] : []
    const { stdout, stderr } = await execute(process.execPath, [...loader, file], { cwd: folder })
    t.equal(stdout, announced(code), 'prints what it says')
    t.equal(stderr, '', 'and no warning')
    if (language !== 'ts') return
    const flags = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--types', 'node']
    t.equal(await staged.tsc(...flags, file), '', 'has the right types')
  })
}

test('readme: teardown', async (t) => {
  await staged.remove()
  t.pass('removed')
})
