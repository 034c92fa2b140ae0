import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

/** Writes a file as the project's formatter has it, which lint asks for. */
export function writeFormatted(path: string, text: string): void {
  writeFileSync(path, text)
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
  execFileSync(process.execPath, [biome, 'format', '--write', path], {
    stdio: ['ignore', 'ignore', 'inherit']
  })
}
