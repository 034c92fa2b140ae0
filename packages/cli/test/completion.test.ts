/** Completion: what is offered, and the scripts in the shells that are here. */
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'tape'
import { COMPLETING, completionScript, SHELLS, shellOf } from '../src/completion.ts'
import { environment, fails, json, PROGRAM, run, spawned, temporaryFolder } from './helpers.ts'

test('completion: commands, options and choices; nothing where a path belongs', async (t) => {
  const offered = async (shell: string, ...words: string[]): Promise<string[]> => {
    const { code, out, error } = await spawned(t, [COMPLETING, 'ddatabase', ...words], {
      env: { SHELL: `/usr/bin/${shell}` }
    })
    t.equal(code, 0, error)
    return out.split('\n').filter((line) => line !== '')
  }
  const commands =
    'append audit cat clear clone completion create export get import info inspect keys peers seek share sync'
  t.same((await offered('bash', '')).sort(), commands.split(' '), 'every command')
  t.ok((await offered('bash', 'clone', '--')).includes('--connect'), 'options')
  t.same(await offered('bash', 'info', ''), [], 'a folder: the shell knows better')
  t.same(await offered('bash', 'keys', 'e'), ['export'], 'one of few words')
  t.ok((await offered('zsh', 'inf')).includes('info:Tell what a feed is and how much of it is here'), 'zsh')
  t.ok(
    (await offered('fish', 'inf')).includes('info\tTell what a feed is and how much of it is here'),
    'fish'
  )
})

test('completion: a script for each shell', async (t) => {
  for (const shell of SHELLS) {
    const { code, out } = await run(t, ['completion', shell])
    t.equal(code, 0)
    t.equal(out, completionScript(shell), shell)
    t.match(out, new RegExp(`^# ddatabase completion ${shell} >>? ~`, 'm'), 'says where it belongs')
    t.same(await json(t, ['completion', shell]), { shell, script: out }, '--json')
  }
  const login = await spawned(t, ['completion'], { env: { SHELL: '/usr/local/bin/fish' } })
  t.equal(login.out, completionScript('fish'), 'without a name: that of the login')
  t.same([shellOf('/bin/zsh'), shellOf('/bin/tcsh'), shellOf(undefined)], ['zsh', 'bash', 'bash'])
  await fails(t, ['completion', 'tcsh'], 2, /Invalid values:.*shell, Given: "tcsh"/)
})

const installed = SHELLS.filter((shell) => spawnSync(shell, ['-c', 'true']).status === 0)

for (const shell of installed) {
  test(`completion: ${shell} understands its script`, async (t) => {
    const { status, stderr } = spawnSync(shell, ['-n'], { input: completionScript(shell), encoding: 'utf8' })
    t.same([status, stderr], [0, ''])
  })
}

if (installed.includes('bash')) {
  test('completion: in bash', async (t) => {
    const folder = await temporaryFolder(t)
    const program = path.join(folder, 'ddatabase')
    const words = [process.execPath, ...PROGRAM].map((word) => `'${word}'`).join(' ')
    await writeFile(program, `#!/bin/sh\nexec ${words} "$@"\n`)
    await chmod(program, 0o755)
    await mkdir(path.join(folder, 'photos.feed'))
    const complete = (...line: string[]): string[] => {
      const script = `${completionScript('bash')}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ddatabase; printf '%s\\n' "\${COMPREPLY[@]}"`
      const { PATH } = process.env
      // SHELL is that of the login, and need not be bash.
      const env = environment({ PATH: `${folder}${path.delimiter}${PATH}`, SHELL: '/bin/zsh' })
      const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...line], { env, encoding: 'utf8' })
      t.equal(stderr, '')
      return stdout.split('\n').filter((found) => found !== '')
    }
    t.same(complete('ddatabase', 'cl').sort(), ['clear', 'clone'], 'commands')
    t.same(complete('ddatabase', 'clone', '--con'), ['--connect'], 'options')
    t.same(complete('ddatabase', 'info', 'photos'), [], 'bash completes the folder by itself')
  })
}
