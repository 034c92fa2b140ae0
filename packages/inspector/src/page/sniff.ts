/** How a block can be shown. */
export type Kind = 'text' | 'json' | 'hex' | 'image'

const SIGNATURES: [type: string, offset: number, bytes: number[]][] = [
  ['image/png', 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ['image/jpeg', 0, [0xff, 0xd8, 0xff]],
  ['image/gif', 0, [0x47, 0x49, 0x46, 0x38]],
  ['image/webp', 8, [0x57, 0x45, 0x42, 0x50]],
  ['image/avif', 4, [0x66, 0x74, 0x79, 0x70, 0x61, 0x76, 0x69, 0x66]],
  ['image/bmp', 0, [0x42, 0x4d]]
]

/**
 * The type of a picture made of pixels, told by its first bytes; null if it is none. Pictures that are documents (SVG) are not
 * among them: those may hold scripts and links.
 */
export function imageType(bytes: Uint8Array): string | null {
  for (const [type, offset, signature] of SIGNATURES) {
    if (signature.every((byte, i) => bytes[offset + i] === byte)) return type
  }
  return null
}

/** The text of bytes if they are UTF-8 without control characters, or null. */
export function textOf(bytes: Uint8Array): string | null {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(text) ? null : text
}

/** JSON text, indented; null if it is none. */
export function jsonOf(text: string | null): string | null {
  if (text === null || !/^\s*[[{"\dtfn-]/.test(text)) return null
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return null
  }
}

/** How a block is best shown. */
export function kindOf(bytes: Uint8Array): Kind {
  if (imageType(bytes) !== null) return 'image'
  const text = textOf(bytes)
  if (text === null) return 'hex'
  const json = jsonOf(text)
  return json !== null && /^\s*[[{]/.test(text) ? 'json' : 'text'
}
