import { SwarmError } from './errors.ts'

/** Where to connect to. */
export interface Address {
  kind: 'tcp' | 'websocket'
  host: string
  port: number
  /** The address as it is told to people: `host:port`, or the URL of a WebSocket. */
  text: string
}

/** Reads `host:port`, `[ipv6]:port`, `tcp://host:port`, `ws://…` or `wss://…`. Errors: `ERR_ADDRESS`. */
export function readAddress(text: string): Address {
  const wrong = () => new SwarmError('ERR_ADDRESS', { about: String(text) })
  if (typeof text !== 'string') throw wrong()
  if (/^wss?:\/\//i.test(text)) {
    try {
      const url = new URL(text)
      // Neither can be dialled.
      if (url.hash !== '' || url.port === '0') throw wrong()
      const port = Number(url.port) || (url.protocol === 'wss:' ? 443 : 80)
      return { kind: 'websocket', host: url.hostname, port, text: url.href }
    } catch {
      throw wrong()
    }
  }
  const found = /^(?:tcp:\/\/)?(?:\[([0-9a-f:.%a-z]+)\]|([^\s:/@[\]]+)):(\d{1,5})\/?$/i.exec(text)
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3])
  if (host === undefined || port < 1 || port > 65535) throw wrong()
  return { kind: 'tcp', host, port, text: addressText(host, port) }
}

/** `host:port`, with brackets around an IPv6 address. */
export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
