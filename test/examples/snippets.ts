/**
 * The programs in documents. A block of code in `js` or `ts` that imports this package begins one; the blocks that
 * follow in its section go on with it. A block in `js browser` is a program of its own, for a page.
 */
import { readFileSync } from 'node:fs'

/** A program of a document. */
export interface Program {
  /** Its section and number. */
  name: string
  language: 'js' | 'ts' | 'js browser'
  code: string
}

/** A document of this repository. */
export function document(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

/** All blocks of code: what stands behind the opening fence, and the lines. */
export function blocks(markdown: string): { info: string; code: string }[] {
  return [...markdown.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, info, code]) => ({
    info: info!,
    code: code!
  }))
}

/** The programs of a document. */
export function programs(markdown: string): Program[] {
  const found: Program[] = []
  for (const section of markdown.split(/^## /m)) {
    const title = section.slice(0, section.indexOf('\n'))
    let current: Program | null = null
    for (const { info, code } of blocks(section)) {
      if (info !== 'js' && info !== 'ts' && info !== 'js browser') continue
      if (current === null || info === 'js browser' || /(?:from |require\()'ddatabase/.test(code)) {
        const program: Program = { name: `${title} ${found.length + 1}`, language: info, code }
        found.push(program)
        if (info !== 'js browser') current = program
      } else {
        current.code += code
      }
    }
  }
  return found
}

/** The lines that a program prints, as its comments `// → …` say. */
export function announced({ code }: Program): string[] {
  return [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line!)
}
