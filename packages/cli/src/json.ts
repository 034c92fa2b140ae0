/** JSON without the space between its parts. The rest stays as it was given: a number may have more digits than are kept here. */
export function compact(text: string): string {
  let kept = ''
  let from = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!
    if (character === '"') quoted = !quoted
    else if (character === '\\') at++
    else if (!quoted && ' \t\n\r'.includes(character)) {
      kept += text.slice(from, at)
      from = at + 1
    }
  }
  return kept + text.slice(from)
}

// What a terminal may obey, and JSON.stringify leaves as it is: it can only be within a string.
const OBEYED = /[\x7f-\x9f\p{Bidi_Control}\u2028\u2029]/gu

/** JSON, in one line, that is harmless to the terminal of whoever reads it. */
export function jsonLine(json: string): string {
  return json.replace(OBEYED, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
