/**
 * `npm run example:browser`: a feed that grows in this process, and a page that follows it. The page is served on
 * loopback; `-- --port <port>` chooses where.
 */
import { parseArgs } from 'node:util'
import { startExample } from './browser/server.ts'

const { values } = parseArgs({ options: { port: { type: 'string', default: '8765' } } })
const example = await startExample({ port: Number(values.port) })
console.log(`Open ${example.url} in a browser. Ctrl-C ends it.`)

process.once('SIGINT', () => {
  example.close().catch((error: unknown) => {
    console.error(error)
    process.exitCode = 1
  })
})
