import { useEffect, useRef, useState } from 'preact/hooks'
import type { SearchLine } from '../messages.ts'
import { lines, wordsOf } from './api.ts'
import { bytes, count, number } from './format.ts'
import { Card, Problem } from './parts.tsx'
import { linkTo, type Route } from './route.ts'

type Match = SearchLine & { type: 'match' }
type End = SearchLine & { type: 'end' }

interface Found {
  matches: Match[]
  searched: number
  bytes: number
  end: End | null
  error: string | null
}

const NOTHING: Found = { matches: [], searched: 0, bytes: 0, end: null, error: null }

/** Looks through the blocks that are here. */
export function Search({ feed, route }: { feed: string; route: Route }) {
  const [query, setQuery] = useState('')
  const [hex, setHex] = useState(false)
  const [matchCase, setMatchCase] = useState(false)
  const [found, setFound] = useState<Found | null>(null)
  const running = useRef<AbortController | null>(null)
  const [busy, setBusy] = useState(false)
  useEffect(() => () => running.current?.abort(), [])

  const run = async (from: number) => {
    running.current?.abort()
    const left = new AbortController()
    running.current = left
    const q = encodeURIComponent(hex ? query.replaceAll(/\s/g, '') : query)
    const path = `feeds/${feed}/search?q=${q}&hex=${hex ? 1 : 0}&case=${matchCase ? 1 : 0}&from=${from}`
    let now = from === 0 ? NOTHING : { ...(found ?? NOTHING), end: null }
    setFound(now)
    setBusy(true)
    try {
      for await (const line of lines<SearchLine>(path, left.signal)) {
        if (line.type === 'match') now = { ...now, matches: [...now.matches, line] }
        else if (line.type === 'progress') now = { ...now, searched: line.searched, bytes: line.bytes }
        else now = { ...now, searched: line.searched, bytes: line.bytes, end: line }
        setFound(now)
      }
    } catch (error) {
      if (!left.signal.aborted) setFound({ ...now, error: wordsOf(error) })
    }
    if (running.current === left) setBusy(false)
  }
  const submit = (event: Event) => {
    event.preventDefault()
    if (query !== '') run(0)
  }
  return (
    <Card title="Search what is here">
      <search>
        <form class="toolbar" onSubmit={submit}>
          <label class="wide">
            <span class="hidden">Search for</span>
            <input
              id="search"
              type="search"
              placeholder={hex ? 'bytes, such as 48 65 6c' : 'text'}
              value={query}
              onInput={(event) => setQuery(event.currentTarget.value)}
            />
          </label>
          <label>
            <input
              type="checkbox"
              checked={matchCase}
              disabled={hex}
              onChange={(event) => setMatchCase(event.currentTarget.checked)}
            />{' '}
            Match case
          </label>
          <label>
            <input type="checkbox" checked={hex} onChange={(event) => setHex(event.currentTarget.checked)} />{' '}
            Hex
          </label>
          <button type="submit" disabled={query === ''}>
            Search
          </button>
          {busy && (
            <button
              type="button"
              onClick={() => {
                running.current?.abort()
                setBusy(false)
              }}
            >
              Stop
            </button>
          )}
        </form>
      </search>
      {found?.error && <Problem>{found.error}</Problem>}
      {found && (
        <>
          <p class="soft" role="status">
            {count(found.matches.length, 'match').replace('matchs', 'matches')} in{' '}
            {count(found.searched, 'block')} ({bytes(found.bytes)})
            {busy ? ', searching …' : found.end === null && found.error === null ? ', stopped' : ''}
            {found.end && found.end.unreadable > 0
              ? `, ${number(found.end.unreadable)} could not be read`
              : ''}
          </p>
          {found.matches.length > 0 && (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what is scrolled with the pointer is scrolled with keys
            <section class="scroll matches" tabIndex={0} aria-label="Matches">
              <ul>
                {found.matches.map((match) => (
                  <li key={match.block}>
                    <a href={linkTo({ ...route, block: match.block })}>Block {number(match.block)}</a>{' '}
                    <span class="soft">at byte {number(match.offset)}</span>{' '}
                    <span class="mono">
                      {match.before}
                      <mark>{match.match}</mark>
                      {match.after}
                    </span>
                  </li>
                ))}
              </ul>
            </section>
          )}
          {found.end !== null && found.end.next !== null && (
            <button type="button" onClick={() => run(found.end!.next!)}>
              Go on from block {number(found.end.next)}
            </button>
          )}
        </>
      )}
    </Card>
  )
}
