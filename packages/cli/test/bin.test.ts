/** The committed file that is linked as `ddatabase`. */
import { execFile, spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'tape'
import { Heard } from '../../../test/helpers/heard.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import { type Ended, environment, PATIENCE, temporaryFolder } from './helpers.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const BIN = path.join('packages', 'cli', 'bin', 'ddatabase.js')

function runBin(file: string, ...args: string[]): Promise<Ended> {
  const running = new Promise<Ended>((resolve) => {
    execFile(process.execPath, [file, ...args], { env: environment() }, (failure, out, error) => {
      resolve({ code: failure === null ? 0 : Number(failure.code), out, error })
    })
  })
  return within(running, 'the bin file', PATIENCE)
}

/** What a clone of the repository has after `npm install`; other packages are links to those that are here. */
async function clone(folder: string): Promise<void> {
  const skipped = new Set(['node_modules', 'dist', 'test', 'docs'])
  const filter = (source: string): boolean => !skipped.has(path.basename(source))
  for (const name of ['package.json', 'tsconfig.json', 'src', 'scripts', 'packages']) {
    await cp(path.join(ROOT, name), path.join(folder, name), { recursive: true, filter })
  }
  const own = new Map([['ddatabase', folder]])
  for (const name of await readdir(path.join(folder, 'packages'))) {
    own.set(`ddatabase-${name}`, path.join(folder, 'packages', name))
  }
  for (const place of ['.', path.join('packages', 'cli')]) {
    const modules = path.join(place, 'node_modules')
    await mkdir(path.join(folder, modules))
    for (const name of await readdir(path.join(ROOT, modules))) {
      const target = own.get(name) ?? path.join(ROOT, modules, name)
      await symlink(target, path.join(folder, modules, name), 'junction')
    }
  }
}

test('the bin file: before any build it says so', async (t) => {
  const folder = await temporaryFolder(t)
  const bin = path.join(folder, 'bin', 'ddatabase.js')
  await cp(path.join(ROOT, BIN), bin)
  await writeFile(path.join(folder, 'package.json'), '{"type":"module"}')
  const { code, error } = await runBin(bin, '--version')
  t.equal(code, 1, 'exit code')
  t.match(error, /^ddatabase is not built: run `npm install .*\n$/, 'one sentence')
  t.ok((await readFile(bin, 'utf8')).startsWith('#!/usr/bin/env node\n'), 'can be run')
})

test('the bin file: in a clone the first run builds everything', async (t) => {
  const folder = await temporaryFolder(t)
  await clone(folder)
  const bin = path.join(folder, BIN)
  const { code, out, error } = await runBin(bin, '--version')
  t.equal(code, 0, error)
  t.match(out, /^\d+\.\d+\.\d+/, 'and then it runs')
  t.match(error, /^Building ddatabase, this once/, 'which is told')
  const feed = path.join(folder, 'feed')
  const second = await runBin(bin, 'create', feed, '--quiet')
  t.same([second.code, second.error], [0, ''], 'the second run does not build')
  t.match(second.out, /^[0-9a-f]{64}\n$/)
  const dialled = ['clone', second.out.trim(), `${feed}2`, '--connect', '127.0.0.1:9', '--no-swarm']
  t.equal((await runBin(bin, ...dialled)).code, 5, 'the swarm is there')

  const inspecting = spawn(process.execPath, [bin, 'inspect', feed, '--no-open'], { env: environment() })
  t.teardown(() => inspecting.kill('SIGKILL'))
  const heard = new Heard()
  for (const stream of [inspecting.stdout, inspecting.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => heard.add(text))
  }
  inspecting.on('close', () => heard.end())
  const [url] = await within(heard.says(/http:\S+/), 'the address of the page', PATIENCE)
  t.match(await (await fetch(url)).text(), /<html/, 'and so is the page of the inspector')
})
