import { useRef, useState } from 'preact/hooks'
import type { AuditState } from '../messages.ts'
import { send, wordsOf } from './api.ts'
import type { ViewProps } from './app.tsx'
import { bytes, count, number } from './format.ts'
import { Card, Problem, Progress } from './parts.tsx'

/** Bytes of one block of a file, and of one request. */
const BLOCK = 64 * 1024
const REQUEST = 16 * BLOCK
/** Lines of one request. */
const LINES = 5000

type Kind = 'text' | 'lines' | 'json'

/** What is being appended. */
interface Appending {
  done: number
  total: number
  unit: 'bytes' | 'values'
  first: number | null
  blocks: number
  state: 'running' | 'done' | 'stopped' | 'failed'
  message: string | null
}

/** Appending, and comparing what is here with what was signed. */
export function WriteView(props: ViewProps) {
  return (
    <>
      {props.feed.writable ? (
        <Append {...props} />
      ) : (
        <Card title="Append">
          <p>This feed cannot be appended to here: only its author can, who has the secret key.</p>
        </Card>
      )}
      <Audit {...props} />
    </>
  )
}

function Append({ route, feed }: ViewProps) {
  const [kind, setKind] = useState<Kind>('text')
  const [text, setText] = useState('')
  const [now, setNow] = useState<Appending | null>(null)
  const file = useRef<HTMLInputElement>(null)
  const stop = useRef<AbortController | null>(null)
  const path = `feeds/${route.feed}/append`

  // Piece by piece: each is a batch of its own, signed and stored before the next one is sent.
  const run = async (
    total: number,
    unit: Appending['unit'],
    pieces: Iterable<{ size: number; path: string; type: string; content: Blob | string }>
  ): Promise<boolean> => {
    const left = new AbortController()
    stop.current = left
    let state: Appending = { done: 0, total, unit, first: null, blocks: 0, state: 'running', message: null }
    setNow(state)
    try {
      for (const piece of pieces) {
        if (left.signal.aborted) break
        const { start, count: blocks } = await send<{ start: number; count: number }>(
          'POST',
          piece.path,
          piece
        )
        state = {
          ...state,
          done: state.done + piece.size,
          first: state.first ?? start,
          blocks: state.blocks + blocks
        }
        setNow(state)
      }
      setNow({ ...state, state: state.done === total ? 'done' : 'stopped' })
      return state.done === total
    } catch (error) {
      setNow({ ...state, state: 'failed', message: wordsOf(error) })
      return false
    }
  }
  const appendText = async (event: Event) => {
    event.preventDefault()
    let values: unknown[]
    try {
      values = valuesOf(kind, text)
    } catch (error) {
      setNow({
        done: 0,
        total: 0,
        unit: 'values',
        first: null,
        blocks: 0,
        state: 'failed',
        message: wordsOf(error)
      })
      return
    }
    const pieces = Array.from({ length: Math.ceil(values.length / LINES) }, (_, i) => {
      const part = values.slice(i * LINES, (i + 1) * LINES)
      return { size: part.length, path, type: 'application/json', content: JSON.stringify({ values: part }) }
    })
    if (await run(values.length, 'values', pieces)) setText('')
  }
  const appendFile = async (event: Event) => {
    event.preventDefault()
    const chosen = file.current?.files?.[0]
    if (chosen === undefined) return
    await run(chosen.size, 'bytes', partsOf(chosen, path))
  }
  const running = now?.state === 'running'
  return (
    <Card title="Append">
      <p class="soft">
        The feed has {count(feed.length, 'block')}. What is appended is signed, and cannot be changed or taken
        back.
      </p>
      <form onSubmit={appendText}>
        <label class="block-label" for="append-text">
          Values
        </label>
        <textarea
          id="append-text"
          rows={5}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <div class="toolbar">
          <label>
            Append as{' '}
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
              <option value="text">one block of text</option>
              <option value="lines">a block for each line</option>
              <option value="json">a JSON value in each line</option>
            </select>
          </label>
          <button type="submit" disabled={running || text === ''}>
            Append
          </button>
        </div>
      </form>
      <form class="toolbar" onSubmit={appendFile}>
        <label>
          A file, in blocks of 64 KiB <input ref={file} type="file" />
        </label>
        <button type="submit" disabled={running}>
          Append file
        </button>
        {running && (
          <button type="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        )}
      </form>
      {now && <Outcome now={now} />}
    </Card>
  )
}

function Outcome({ now }: { now: Appending }) {
  const amount = now.unit === 'bytes' ? bytes : number
  const blocks =
    now.first === null
      ? 'Nothing was appended'
      : `Blocks ${number(now.first)} to ${number(now.first + now.blocks - 1)} were appended`
  return (
    <>
      {now.total > 0 && (
        <Progress
          value={now.done}
          max={now.total}
          label={`${amount(now.done)} of ${amount(now.total)}${now.unit === 'values' ? ' values' : ''}`}
        />
      )}
      {now.state === 'failed' && <Problem>{now.message}</Problem>}
      {now.state !== 'running' && (
        <p role="status">
          {blocks}
          {now.state === 'stopped' ? ', then it was stopped.' : '.'}
        </p>
      )}
    </>
  )
}

function valuesOf(kind: Kind, text: string): unknown[] {
  if (kind === 'text') return [text]
  const lines = text.split('\n').filter((line) => line !== '')
  if (kind === 'lines') return lines
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown
    } catch {
      throw new Error(`Line ${i + 1} is no JSON`)
    }
  })
}

function* partsOf(file: File, path: string) {
  for (let at = 0; at < file.size; at += REQUEST) {
    const content = file.slice(at, at + REQUEST)
    yield { size: content.size, path: `${path}?block=${BLOCK}`, type: 'application/octet-stream', content }
  }
}

function Audit({ route, feed, detail }: ViewProps) {
  const [error, setError] = useState<string | null>(null)
  const [repair, setRepair] = useState(false)
  const { audit } = detail
  const path = `feeds/${route.feed}/audit`
  const tell = (method: 'POST' | 'DELETE', query = '') => {
    setError(null)
    send(method, path + query).catch((failure: unknown) => setError(wordsOf(failure)))
  }
  const running = audit?.state === 'running'
  return (
    <Card title="Audit">
      <p class="soft">
        Compares each of the {count(feed.present, 'block')} that are here, and the tree, with what was signed.
        Blocks that do not match are not given out any more; a peer can give them back.
      </p>
      <p class="actions">
        <button type="button" onClick={() => tell('POST', repair ? '?repair=1' : '')} disabled={running}>
          Start audit
        </button>
        <label>
          <input
            type="checkbox"
            checked={repair}
            onChange={(event) => setRepair(event.currentTarget.checked)}
          />{' '}
          and mend what the files themselves can mend
        </label>
        {running && (
          <button type="button" onClick={() => tell('DELETE')}>
            Cancel
          </button>
        )}
      </p>
      {error && <Problem>{error}</Problem>}
      {audit && <AuditOutcome audit={audit} />}
    </Card>
  )
}

function AuditOutcome({ audit }: { audit: AuditState }) {
  const found = `${count(audit.valid, 'block')} as signed, ${number(audit.invalid)} not`
  const mended =
    audit.damaged === 0 ? '' : `; ${count(audit.damaged, 'fault')}, ${number(audit.repaired)} mended`
  const words = {
    running: `${number(audit.checked)} of ${count(audit.total, 'block')} looked at`,
    done: found + mended,
    failed: 'The audit failed',
    cancelled: 'The audit was cancelled'
  }[audit.state]
  return (
    <>
      <Progress
        value={audit.state === 'done' ? 1 : audit.checked}
        max={audit.state === 'done' ? 1 : audit.total}
        label={words}
      />
      {audit.error && <Problem>{audit.error}</Problem>}
      {audit.places.length > 0 && (
        <ul class="places">
          {audit.places.map((place) => (
            <li key={place}>{place}</li>
          ))}
        </ul>
      )}
      <p class="hidden" role="status">
        {audit.state === 'running' ? '' : words}
      </p>
    </>
  )
}
