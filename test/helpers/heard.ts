/** What a process says, as it comes, and what is waited for in it. */
export class Heard {
  /** Everything so far. */
  text = ''
  readonly #listeners = new Set<() => void>()
  #over = false

  /** Something came. */
  add(text: string): void {
    this.text += text
    this.#tell()
  }

  /** Nothing more comes. */
  end(): void {
    this.#over = true
    this.#tell()
  }

  /**
   * Waits for something, and answers what was found; rejects when it ends without.
   * @param others - where it may be as well
   */
  says(what: RegExp, ...others: Heard[]): Promise<RegExpExecArray> {
    const all = [this, ...others]
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = all.map(({ text }) => what.exec(text)).find((match) => match !== null)
        if (found === undefined && all.some((heard) => !heard.#over)) return
        for (const heard of all) heard.#listeners.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(`ended without saying ${what}: ${all.map(({ text }) => text).join('')}`))
      }
      for (const heard of all) heard.#listeners.add(look)
      look()
    })
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}
