import { readFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { pipeline } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { Source } from './source.ts'

const PAGE = fileURLToPath(new URL('./page/', import.meta.url))
const WORKER = fileURLToPath(new URL('../../src/storage/opfs/opfs-worker.ts', import.meta.url))

/** Only programs of this machine can connect. */
const HOST = '127.0.0.1'

// The page needs nothing from anywhere else, and so it may not ask for it. WebAssembly computes the hashes.
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json'
}

/** The running example. */
export interface Example {
  /** Address of the page. */
  url: string
  /** The feed that the page follows. */
  source: Source
  close(): Promise<void>
}

/** Makes the feed and serves it, and the page, on loopback. Port 0 is any free one. */
export async function startExample({ port = 0 } = {}): Promise<Example> {
  const source = await Source.create()
  const files = await pageFiles()
  files.set('/feed.json', JSON.stringify({ key: Buffer.from(source.feed.key!).toString('hex') }))
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://example')
    const file = pathname === '/' ? '/index.html' : pathname
    const content = files.get(file)
    if (content === undefined) response.writeHead(404).end()
    else {
      const headers = { 'content-type': TYPES[path.extname(file)]!, 'content-security-policy': POLICY }
      response.writeHead(200, { ...headers, 'cache-control': 'no-store' }).end(content)
    }
  })
  const sockets = new WebSocketServer({ server, path: '/feed' })
  sockets.on('connection', (socket) => {
    const connection = createWebSocketStream(socket)
    // Whichever side ends it: the page connects again if it wants to.
    pipeline(connection, source.feed.replicate(false, { live: true }), connection, () => {})
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, resolve)
  })
  source.start()
  return {
    url: `http://${HOST}:${(server.address() as AddressInfo).port}/`,
    source,
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await source.close()
    }
  }
}

/** The files of the page by address; its script, and the storage's worker, are bundled without any polyfill. */
async function pageFiles(): Promise<Map<string, Uint8Array | string>> {
  const files = new Map<string, Uint8Array | string>()
  for (const name of ['index.html', 'style.css']) files.set(`/${name}`, await readFile(path.join(PAGE, name)))
  const { outputFiles } = await build({
    entryPoints: { main: path.join(PAGE, 'main.ts'), 'opfs-worker': WORKER },
    bundle: true,
    write: false,
    outdir: '/',
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true
  })
  for (const { path: name, contents } of outputFiles) files.set(`/${path.basename(name)}`, contents)
  return files
}
