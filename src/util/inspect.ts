import b4a from 'b4a'

/** What `util.inspect` passes on. */
interface InspectOptions {
  indentationLvl?: number
  stylize?(text: string, style: string): string
}

/** Where `util.inspect` looks for a summary. */
export const inspectSymbol: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

/** A summary over several lines, as of the published packages; bytes are keys, which are abbreviated, and only keys and texts may be null. */
export function summary(
  name: string,
  fields: Readonly<Record<string, string | number | boolean | null | Uint8Array>>,
  options: object = {}
): string {
  const { indentationLvl = 0, stylize = (text: string) => text }: InspectOptions = options
  const indent = ' '.repeat(indentationLvl)
  const lines = Object.entries(fields).map(([field, value]) => {
    const text = value instanceof Uint8Array ? shorten(value) : value
    const style = value === null ? 'string' : typeof text
    return `${indent}  ${field}: ${stylize(String(text), style)}\n`
  })
  return `${name}(\n${lines.join('')}${indent})`
}

function shorten(key: Uint8Array): string {
  const text = b4a.toString(key, 'hex')
  return `${text.slice(0, 6)}..${text.slice(-2)}`
}
