/** README.md says what the program does. */
import { readFile } from 'node:fs/promises'
import test from 'tape'
import { EXIT } from '../src/exit.ts'
import { run } from './helpers.ts'

test('README: every exit code and every command', async (t) => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  for (const [kind, code] of Object.entries(EXIT)) {
    t.match(readme, new RegExp(`^\\| +${code} \\| \\S`, 'm'), `${kind}: ${code}`)
  }
  const { out } = await run(t, ['--help'])
  const usages = new Set([...out.matchAll(/^ {2}ddatabase (\w+)/gm)].map(([, name]) => name!))
  t.equal(usages.size, 17, 'commands')
  for (const name of usages) t.match(readme, new RegExp(`^\\| \`${name}[ \`]`, 'm'), name)
  for (const name of usages) {
    const help = (await run(t, [name, '--help'])).out
    for (const [, option] of readme.matchAll(new RegExp(`^\\| \`${name}[^|]*\\|(.*)$`, 'gm'))) {
      for (const [flag] of option!.matchAll(/--[a-z-]+/g)) t.ok(help.includes(flag), `${name} has ${flag}`)
    }
  }
})
