import { fileURLToPath } from 'node:url'
import { writePage } from './page.ts'

await writePage(fileURLToPath(new URL('../dist/page/', import.meta.url)))
