/** A site on loopback: pages made of the modules in `pages/`, bundled without any polyfill. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const PAGES = fileURLToPath(new URL('../pages', import.meta.url))
const WORKER = fileURLToPath(new URL('../../../src/storage/opfs/opfs-worker.ts', import.meta.url))

/**
 * Bundles modules for browsers as a program that uses this package would be, with nothing put in for Node's globals.
 * @param entries - the address of each script, without `.js`, and its module
 * @returns the scripts by address
 */
export async function bundle(entries: Record<string, string>): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: entries,
    bundle: true,
    write: false,
    outdir: '/',
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    logLevel: 'silent'
  })
  return new Map(outputFiles.map((file) => [`/${path.basename(file.path)}`, file.contents]))
}

/** A running site. */
export interface Site {
  /** `http://127.0.0.1:<port>`; browsers trust this address like a secure one. */
  origin: string
  close(): Promise<void>
}

/** Serves `files` by address. */
export async function serve(files: ReadonlyMap<string, Uint8Array | string>): Promise<Site> {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://site')
    const file = files.get(pathname)
    if (file === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': TYPES[path.extname(pathname)]! }).end(file)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json'
}

/** The site of the tests: `/<page>.html` for each module in `pages/`, and the storage's worker beside their scripts. */
export async function startSite(...pages: string[]): Promise<Site> {
  const entries: Record<string, string> = { 'opfs-worker': WORKER }
  for (const page of pages) entries[page] = path.join(PAGES, `${page}.ts`)
  const scripts = await bundle(entries)
  const files = new Map<string, Uint8Array | string>(scripts)
  for (const page of pages) {
    files.set(`/${page}.html`, html(`<script type="module" src="/${page}.js"></script>`))
  }
  files.set('/moved/worker.js', scripts.get('/opfs-worker.js')!)
  for (const [name, change] of Object.entries(OLD_BROWSERS)) {
    files.set(`/${name}/worker.js`, `${change}\n${Buffer.from(scripts.get('/opfs-worker.js')!)}`)
  }
  return serve(files)
}

/** What makes this browser, for the storage's worker, like one that lacks something. */
const OLD_BROWSERS = {
  'without-handles': 'delete FileSystemFileHandle.prototype.createSyncAccessHandle',
  'with-handles-in-name-only':
    "FileSystemFileHandle.prototype.createSyncAccessHandle = async () => { throw new DOMException('none', 'NotSupportedError') }",
  'with-asynchronous-handles': 'FileSystemSyncAccessHandle.prototype.getSize = async () => 0',
  'of-another-version':
    "addEventListener('message', ({ data }) => { if (data.ddatabase) data.version++ }, { capture: true })"
}

// The icon is given, or the browser asks for one.
function html(body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>ddatabase</title><link rel="icon" href="data:,"><body>${body}`
}
