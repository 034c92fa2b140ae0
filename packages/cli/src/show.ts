import { compact, jsonLine } from './json.ts'
import { count, printable } from './units.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A block as scripts get it, an object in JSON: `value` is its value if it is JSON itself (as it is written there: not every number can be
 * kept here), its text if it is text, else base64; `encoding` says which.
 */
export function toJson(index: number, block: Uint8Array): string {
  const shown = (encoding: 'json' | 'utf-8' | 'base64', value: string): string =>
    `{"index":${index},"bytes":${block.byteLength},"encoding":"${encoding}","value":${value}}`
  const text = toText(block)
  if (text === null) return shown('base64', JSON.stringify(Buffer.from(block).toString('base64')))
  try {
    JSON.parse(text)
  } catch {
    return jsonLine(shown('utf-8', JSON.stringify(text)))
  }
  return jsonLine(shown('json', compact(text)))
}

/**
 * A block as a line for people. For a terminal it is made harmless: an author must not be able to move the cursor of
 * whoever reads. For a pipe it is the bytes as they are.
 */
export function toLine(block: Uint8Array, terminal: boolean): Uint8Array | string {
  if (!terminal) return Buffer.concat([block, Buffer.from('\n')])
  const text = toText(block)
  if (text === null) return `<${count(block.byteLength, 'byte')} that are no text; --raw gives them>\n`
  return `${text.split('\n').map(printable).join('\n')}\n`
}

function toText(block: Uint8Array): string | null {
  try {
    return utf8.decode(block)
  } catch {
    return null
  }
}
