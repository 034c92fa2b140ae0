import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')

/** The package as its users get it, unpacked in the `node_modules` of an empty project. */
export interface Staged {
  /** The project. */
  folder: string
  /** The unpacked package. */
  unpacked: string
  /** The tarball. */
  tarball: string
  /** Paths in the tarball, as npm lists them. */
  files: string[]
  /** Runs a program of Node in the project, its output is returned. */
  node(...args: string[]): Promise<string>
  /** Runs the TypeScript compiler in the project; its messages are returned, none when it agrees. */
  tsc(...args: string[]): Promise<string>
  remove(): Promise<void>
}

/**
 * Builds and packs in a copy of the repository, so that its `dist` is neither needed nor touched, and unpacks the
 * tarball into a project. Dependencies are links to the repository's, so that no registry is asked.
 */
export async function stage(): Promise<Staged> {
  const folder = await mkdtemp(join(tmpdir(), 'ddatabase-package-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    return { ...(await stageIn(folder)), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function stageIn(folder: string): Promise<Omit<Staged, 'remove'>> {
  const source = join(folder, 'source')
  const modules = join(folder, 'node_modules')
  const unpacked = join(modules, 'ddatabase')
  await mkdir(source)
  await mkdir(modules)
  for (const name of await readdir(ROOT)) {
    if (['node_modules', 'dist', 'test', '.git'].includes(name)) continue
    await cp(join(ROOT, name), join(source, name), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(source, 'node_modules'), 'junction')
  await run(process.execPath, [join('scripts', 'bundle.mjs')], { cwd: source })
  await run(process.execPath, [TSC, '-p', 'tsconfig.build.json'], { cwd: source })

  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const packed = await run(npm, ['pack', '--json', '--ignore-scripts', '--loglevel=error'], { cwd: source })
  const [tarball] = JSON.parse(packed.stdout) as { filename: string; files: { path: string }[] }[]
  if (!tarball) throw new Error('npm pack made nothing')
  await run('tar', ['-xzf', join('source', tarball.filename)], { cwd: folder })
  await rename(join(folder, 'package'), unpacked)
  await linkDependencies(unpacked)
  for (const name of ['@types', 'random-access-memory']) {
    await symlink(join(ROOT, 'node_modules', name), join(modules, name), 'junction')
  }

  return {
    folder,
    unpacked,
    tarball: join(source, tarball.filename),
    files: tarball.files.map(({ path }) => path).sort(),
    node: async (...args) => (await run(process.execPath, args, { cwd: folder })).stdout,
    tsc: (...args) =>
      run(process.execPath, [TSC, ...args], { cwd: folder }).then(
        () => '',
        (error: { stdout?: string }) => error.stdout || String(error)
      )
  }
}

/** Only what the package declares is to be found from it: a tool of ours that it needs by mistake is missing. */
async function linkDependencies(unpacked: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
    optionalDependencies?: Record<string, string>
  }
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    const link = join(unpacked, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), link, 'junction')
  }
}
