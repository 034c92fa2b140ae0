import { readFileSync } from 'node:fs'
import test, { type Test } from 'tape'

interface Manifest {
  name: string
  version: string
  scripts: Record<string, string>
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
  devDependencies: Record<string, string>
  engines: { node: string }
}

/** The relatives of the benchmark, an install of its own. */
interface BenchManifest {
  name: string
  private: boolean
  dependencies: Record<string, string>
}

interface Lock {
  packages: Record<
    string,
    { name?: string; version: string; resolved?: string; link?: true; integrity?: string; dev?: boolean }
  >
}

const manifest = readJSON<Manifest>('package.json')
const lock = readJSON<Lock>('package-lock.json')
const benchManifest = readJSON<BenchManifest>('bench/package.json')
const benchLock = readJSON<Lock>('bench/package-lock.json')

function readJSON<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')) as T
}

test('hygiene: every dependency is one exact version, the one in the lock file', async (t) => {
  const all = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies }
  t.ok(Object.keys(all).length > 20, 'there are dependencies')
  allLocked(t, all, lock)
  t.ok(benchManifest.private, 'nobody installs the benchmark')
  t.ok(Object.keys(benchManifest.dependencies).length > 0, 'it has dependencies')
  allLocked(t, benchManifest.dependencies, benchLock)
})

function allLocked(t: Test, dependencies: Record<string, string>, lock: Lock): void {
  for (const [name, wanted] of Object.entries(dependencies)) {
    const [, alias, version] = /^(?:npm:(.+)@)?(\d+\.\d+\.\d+)$/.exec(wanted) ?? []
    if (version === undefined) {
      t.fail(`${name} has no exact version: ${wanted}`)
      continue
    }
    const locked = lock.packages[`node_modules/${name}`]
    t.equal(locked?.version, version, `${name}@${version} is locked`)
    t.equal(locked?.name, alias, `${name} is ${alias ?? 'itself'}`)
    // The registry gave this digest, so the version exists.
    t.match(locked?.integrity ?? '', /^sha512-/, `${name}@${version} has a digest`)
  }
}

test('hygiene: nothing of ours runs at installation', async (t) => {
  for (const name of ['preinstall', 'install', 'postinstall', 'preprepare', 'prepare', 'postprepare']) {
    t.notOk(name in manifest.scripts, `there is no ${name} script`)
  }
  t.notOk('gypfile' in manifest, 'there is no native build')
})

test('hygiene: the lock file belongs to the manifest and names no host', async (t) => {
  const { '': root, ...packages } = lock.packages
  t.equal(root?.version, manifest.version, 'version')
  t.equal(root?.name, manifest.name, 'name')
  for (const [path, { resolved, link }] of Object.entries(packages)) {
    // Links are to the packages around this one, in the same repository.
    if (link === true) t.match(resolved ?? '', /^(packages\/[a-z]+)?$/, `${path} is in the repository`)
    else if (resolved !== undefined) t.fail(`${path} is resolved to ${resolved}`)
  }
  const { '': bench, ...relatives } = benchLock.packages
  t.equal(bench?.name, benchManifest.name, 'name of the benchmark')
  for (const [path, { resolved }] of Object.entries(relatives)) {
    if (resolved !== undefined) t.fail(`${path} is resolved to ${resolved}`)
  }
})

test('hygiene: tools stay out of what users install', async (t) => {
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    t.notOk(name in manifest.devDependencies, `${name} is not listed twice`)
    t.notOk(lock.packages[`node_modules/${name}`]?.dev, `${name} is installed for users`)
  }
  t.equal(manifest.engines.node, '^20.19.0 || >=22.12.0', 'Node versions in which require() loads ES modules')
})
