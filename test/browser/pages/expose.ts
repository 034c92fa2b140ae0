/** How a page lets the tests call its functions. */

// biome-ignore lint/suspicious/noExplicitAny: what they take is between the page and its test
type Functions = Record<string, (...args: any[]) => unknown>

/** Makes functions callable from the tests: with values that JSON knows, and errors as plain objects. */
export function expose(functions: Functions): void {
  const exposed = async (name: string, args: unknown[]): Promise<unknown> => {
    try {
      return { value: await functions[name]!(...args) }
    } catch (error) {
      return { error: plain(error) }
    }
  }
  Object.assign(globalThis, { exposed })
}

function plain(error: unknown): unknown {
  const { code, message, cause } = error as Error & { code?: string }
  const { code: causeCode, name } = (cause ?? {}) as Error & { code?: string }
  return { code, message, cause: cause === undefined ? null : { code: causeCode, name } }
}
