/** The browser of the tests: an installed Chromium, with a profile of its own. */
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

// It shall neither ask the network for anything nor show anything.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A name that is not taken for this machine's own: pages from there are no secure context.
  '--host-resolver-rules=MAP insecure.test 127.0.0.1'
]

/** The path of the browser: the variable CHROMIUM, or what is installed under one of the usual names. */
function findChromium(): string {
  if (process.env.CHROMIUM) return process.env.CHROMIUM
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    for (const name of NAMES) {
      const file = path.join(folder, name)
      try {
        accessSync(file, constants.X_OK)
        return file
      } catch {
        // The next one.
      }
    }
  }
  throw new Error(`No ${NAMES.join(', ')} in PATH: install Chromium, or name it with the variable CHROMIUM`)
}

/** A running browser with an empty profile; its pages are the tabs of one user. */
export interface Browser {
  context: BrowserContext
  close(): Promise<void>
}

/** Starts the browser. */
export async function startBrowser(): Promise<Browser> {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'ddatabase-chromium-'))
  const remove = () => rm(profile, { recursive: true, force: true, maxRetries: 5 })
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: findChromium(),
      args: FLAGS,
      headless: true
    })
    return {
      context,
      async close() {
        await context.close()
        await remove()
      }
    }
  } catch (error) {
    await remove()
    throw error
  }
}
