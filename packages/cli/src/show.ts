import { count, printable } from './units.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A block as scripts get it. */
export interface ShownBlock {
  index: number
  bytes: number
  /** How `value` is to be read. */
  encoding: 'json' | 'utf-8' | 'base64'
  value: unknown
}

/** A block as JSON: its value if it is JSON itself, its text if it is text, else base64. */
export function toJson(index: number, block: Uint8Array): ShownBlock {
  const bytes = block.byteLength
  const text = toText(block)
  if (text === null) {
    return { index, bytes, encoding: 'base64', value: Buffer.from(block).toString('base64') }
  }
  try {
    return { index, bytes, encoding: 'json', value: JSON.parse(text) }
  } catch {
    return { index, bytes, encoding: 'utf-8', value: text }
  }
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
