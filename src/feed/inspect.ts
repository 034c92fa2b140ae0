import b4a from 'b4a'

/** What `util.inspect` passes on. */
interface InspectOptions {
  indentationLvl?: number
  stylize?(text: string, style: string): string
}

/** What is shown of a feed. */
export interface Inspected {
  key: Uint8Array | null
  discoveryKey: Uint8Array | null
  opened: boolean
  sparse: boolean
  writable: boolean
  length: number
  byteLength: number
  peers: readonly unknown[]
}

/** The summary of a feed over several lines; keys are abbreviated. */
export function inspectFeed(name: string, feed: Inspected, options: InspectOptions = {}): string {
  const indent = ' '.repeat(options.indentationLvl ?? 0)
  const stylize = options.stylize ?? ((text: string) => text)
  const fields: [string, unknown, string][] = [
    ['key', feed.key && shorten(feed.key), 'string'],
    ['discoveryKey', feed.discoveryKey && shorten(feed.discoveryKey), 'string'],
    ['opened', feed.opened, 'boolean'],
    ['sparse', feed.sparse, 'boolean'],
    ['writable', feed.writable, 'boolean'],
    ['length', feed.length, 'number'],
    ['byteLength', feed.byteLength, 'number'],
    ['peers', feed.peers.length, 'number']
  ]
  const lines = fields.map(
    ([field, value, style]) => `${indent}  ${field}: ${stylize(String(value), style)}\n`
  )
  return `${name}(\n${lines.join('')}${indent})`
}

function shorten(key: Uint8Array): string {
  const text = b4a.toString(key, 'hex')
  return `${text.slice(0, 6)}..${text.slice(-2)}`
}
