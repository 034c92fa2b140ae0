import { spawn } from 'node:child_process'

/** What opens an address in the browser of the user, on each platform. */
export function openCommand(platform: NodeJS.Platform, url: string): [command: string, args: string[]] {
  if (platform === 'darwin') return ['open', [url]]
  if (platform === 'win32') return ['rundll32', ['url.dll,FileProtocolHandler', url]]
  return ['xdg-open', [url]]
}

/** Opens `url` in the browser. Where there is none nothing happens: the address can be opened by hand. */
export function openBrowser(url: string): void {
  const [command, args] = openCommand(process.platform, url)
  const child = spawn(command, args, { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}
