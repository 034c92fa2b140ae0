import type { BrowserContext, Page } from 'playwright-core'
import { until } from './until.ts'

/** An open page whose module has exposed functions (`pages/expose.ts`). */
export interface Tab {
  page: Page
  /** Calls an exposed function. What it throws comes as an object with `code`, `message` and the code of its cause. */
  call<T = unknown>(name: string, ...args: unknown[]): Promise<T>
  /** The error that a call fails with; fails itself if there is none. */
  failure(name: string, ...args: unknown[]): Promise<PageError>
  /** Calls a function again and again until it answers something that will do. */
  until<T>(will: (value: T) => boolean, name: string, ...args: unknown[]): Promise<T>
  /** What the console and uncaught exceptions said so far. */
  complaints: string[]
}

/** An error on a page. */
export interface PageError {
  code: string | undefined
  message: string
  cause: { code: string | undefined; name: string } | null
}

type Outcome = { value: unknown } | { error: PageError }

/** Opens a page of the site and waits until its module has run. */
export async function openTab(context: BrowserContext, url: string): Promise<Tab> {
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('requestfailed', (request) => complaints.push(`failed: ${request.url()}`))
  await page.goto(url)
  const outcome = async (name: string, args: unknown[]): Promise<Outcome> => {
    // As text, because the function would otherwise be compiled for Node first.
    const call = `globalThis.exposed(${JSON.stringify(name)}, ${JSON.stringify(args)})`
    await page.waitForFunction('globalThis.exposed !== undefined')
    return (await page.evaluate(call)) as Outcome
  }
  const call = async <T>(name: string, ...args: unknown[]): Promise<T> => {
    const result = await outcome(name, args)
    if ('value' in result) return result.value as T
    const { code, message, cause } = result.error
    throw new Error(`${name} failed: ${code} ${message} (${JSON.stringify(cause)})`)
  }
  return {
    page,
    complaints,
    call,
    async failure(name, ...args) {
      const result = await outcome(name, args)
      if ('error' in result) return result.error
      throw new Error(`${name} should have failed, but answered ${JSON.stringify(result.value)}`)
    },
    until: <T>(will: (value: T) => boolean, name: string, ...args: unknown[]) =>
      until(() => call<T>(name, ...args), will)
  }
}
