/** Watches, and can refuse, the opening of files through node:fs. */
import fs from 'node:fs'
import type { Test } from 'tape'

/** The files opened and not yet closed since {@link watchDescriptors}. */
export interface Descriptors {
  /** Paths of all successful openings, in order. */
  readonly opened: string[]
  /** The paths behind the descriptors that are still open. */
  live(): string[]
  /** The still open descriptor of a path that ends with `name`. */
  of(name: string): number
}

/** An error as the operating system would give it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: made by a test`), { code })
}

const originals = new Map<object, Map<PropertyKey, unknown>>()

/** Replaces a function of an object until the test ends, also several times. */
export function replace<T extends object, K extends keyof T>(
  t: Test,
  target: T,
  name: K,
  value: unknown
): void {
  const replaced = originals.get(target) ?? new Map<PropertyKey, unknown>()
  originals.set(target, replaced)
  if (!replaced.has(name)) {
    replaced.set(name, target[name])
    t.teardown(() => {
      target[name] = replaced.get(name) as T[K]
      replaced.delete(name)
    })
  }
  target[name] = value as T[K]
}

/**
 * Watches `fs.open` and `fs.close`, and the same two at once, until the test ends.
 * @param refuse - answers the error that an opening gets, or null to let it happen
 */
export function watchDescriptors(
  t: Test,
  refuse: (file: string, flags: number) => Error | null = () => null
): Descriptors {
  const live = new Map<number, string>()
  const opened: string[] = []
  const { open, close, openSync, closeSync } = fs
  replace(t, fs, 'open', (file: string, flags: number, ...rest: unknown[]) => {
    const callback = rest.pop() as (error: Error | null, fd?: number) => void
    const error = refuse(file, flags)
    if (error !== null) {
      setImmediate(callback, error)
      return
    }
    open(file, flags, rest[0] as number | undefined, (failure, fd) => {
      if (failure === null) {
        live.set(fd, file)
        opened.push(file)
      }
      callback(failure, fd)
    })
  })
  replace(t, fs, 'close', (fd: number, callback: (error: Error | null) => void) => {
    live.delete(fd)
    close(fd, callback)
  })
  replace(t, fs, 'openSync', (file: string, flags: number, mode?: number) => {
    const error = refuse(file, flags)
    if (error !== null) throw error
    const fd = openSync(file, flags, mode)
    live.set(fd, file)
    opened.push(file)
    return fd
  })
  replace(t, fs, 'closeSync', (fd: number) => {
    live.delete(fd)
    closeSync(fd)
  })
  return {
    opened,
    live: () => [...live.values()],
    of(name) {
      for (const [fd, file] of live) if (file.endsWith(name)) return fd
      throw new Error(`${name} is not open`)
    }
  }
}
