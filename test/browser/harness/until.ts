/** How often, in milliseconds. */
const POLL = 20

/** Reads something again and again until it will do. (A page that forbids `eval` cannot be waited for otherwise.) */
export async function until<T>(read: () => Promise<T>, will: (value: T) => boolean): Promise<T> {
  while (true) {
    const value = await read()
    if (will(value)) return value
    await new Promise((resolve) => setTimeout(resolve, POLL))
  }
}
