import { execFile } from 'node:child_process'
import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const NPM = process.platform === 'win32' ? 'npm.cmd' : 'npm'
// What npm sets for the scripts that it runs would make an npm below it believe that it works on this repository.
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(?!config_(?:registry|.*_proxy|cafile|userconfig)$)/i.test(name)
  )
)

/** How a program ended. */
export interface Ended {
  status: number
  stdout: string
  stderr: string
}

/** A package of an installed tree, as the lockfile tells. */
export interface Locked {
  version?: string
  deprecated?: string
  hasInstallScript?: boolean
  link?: boolean
  resolved?: string
}

/** An empty project, into which npm installs from the registry. */
export class Project {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** @param manifest - what package.json says besides being private */
  static async make(folder: string, manifest: object): Promise<Project> {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }))
    return new Project(folder)
  }

  /** Runs npm; rejects if it fails. */
  async npm(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(NPM, [
      ...args,
      '--no-audit',
      '--no-fund',
      '--loglevel=error'
    ])
    if (status !== 0) throw new Error(`npm ${args.join(' ')} failed\n${stdout}\n${stderr}`)
    return stdout
  }

  /** What `npm audit` says of what is installed for production, or null if the registry does not answer that. */
  async audit(): Promise<{ total: number } | null> {
    const { stdout } = await this.run(NPM, ['audit', '--omit=dev', '--json'])
    const report = parse(stdout) as { metadata?: { vulnerabilities?: { total: number } } } | null
    return report?.metadata?.vulnerabilities ?? null
  }

  /** Runs a program in the project. */
  async run(program: string, args: string[]): Promise<Ended> {
    try {
      const done = await exec(program, args, { cwd: this.folder, env: ENVIRONMENT, maxBuffer: 1 << 26 })
      return { status: 0, ...done }
    } catch (error) {
      const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
      return { status: typeof code === 'number' ? code : 1, stdout, stderr: stderr || String(error) }
    }
  }

  write(file: string, content: string): Promise<void> {
    return writeFile(join(this.folder, file), content)
  }

  /** What is installed, by path. */
  async installed(): Promise<Map<string, Locked>> {
    const text = await readFile(join(this.folder, 'node_modules', '.package-lock.json'), 'utf8')
    return new Map(Object.entries((JSON.parse(text) as { packages: Record<string, Locked> }).packages))
  }

  /** Bytes of all installed files. */
  size(): Promise<number> {
    return sizeOf(join(this.folder, 'node_modules'))
  }
}

async function sizeOf(folder: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    sum += entry.isDirectory() ? await sizeOf(path) : (await lstat(path)).size
  }
  return sum
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
