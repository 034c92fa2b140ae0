import type { RefObject } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { wordsOf } from './api.ts'

/** Something that is asked for: what came last, and what went wrong if the last try failed. */
export interface Loaded<T> {
  value: T | null
  error: string | null
}

/** Asks whenever one of `keys` changes; what comes too late is dropped. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[]): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ value: null, error: null })
  useEffect(() => {
    const left = new AbortController()
    load(left.signal).then(
      (value) => {
        if (!left.signal.aborted) setLoaded({ value, error: null })
      },
      (error: unknown) => {
        if (!left.signal.aborted) setLoaded({ value: null, error: wordsOf(error) })
      }
    )
    return () => left.abort()
  }, keys)
  return loaded
}

/**
 * As {@link useLoaded} for what changes all the time: asks again when `version` changes, one request at a time, at most every
 * `every` milliseconds, and keeps what it has meanwhile.
 */
export function useFollowed<T>(
  load: (signal: AbortSignal) => Promise<T>,
  keys: unknown[],
  version: unknown,
  every: number
): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ value: null, error: null })
  const state = useRef({ wanted: version, again: () => {} })
  const latest = useRef(load)
  latest.current = load
  useEffect(() => {
    const left = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let running = false
    let shown: unknown = Symbol('nothing')
    const next = async (): Promise<void> => {
      if (running || timer !== undefined || left.signal.aborted || shown === state.current.wanted) return
      running = true
      shown = state.current.wanted
      try {
        const value = await latest.current(left.signal)
        if (!left.signal.aborted) setLoaded({ value, error: null })
      } catch (error) {
        if (!left.signal.aborted) setLoaded({ value: null, error: wordsOf(error) })
      }
      running = false
      timer = setTimeout(() => {
        timer = undefined
        next()
      }, every)
    }
    state.current.again = next
    next()
    return () => {
      left.abort()
      clearTimeout(timer)
    }
  }, keys)
  useEffect(() => {
    state.current.wanted = version
    state.current.again()
  }, [version])
  return loaded
}

/** Width of an element, kept up to date; 0 before it is known. */
export function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const target = element.current
    if (target === null) return
    const observer = new ResizeObserver(() => setWidth(target.clientWidth))
    observer.observe(target)
    return () => observer.disconnect()
  }, [])
  return width
}
