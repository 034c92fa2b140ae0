import { useEffect, useMemo, useState } from 'preact/hooks'
import type { BlockState } from '../messages.ts'
import { ask, get, send, wordsOf } from './api.ts'
import { hexDump } from './bytes.ts'
import { bytes, number } from './format.ts'
import { useFollowed, useLoaded } from './hooks.ts'
import { Card, Problem, State } from './parts.tsx'
import { linkTo, type Route } from './route.ts'
import { imageType, jsonOf, type Kind, kindOf, textOf } from './sniff.ts'

/** What is shown of a large block at once, in bytes of text. */
const SHOWN = 64 * 1024
/** The ways to show a block, in the order of their buttons. */
const KINDS: Kind[] = ['text', 'json', 'hex', 'image']
const NAMES: Record<Kind, string> = { text: 'Text', json: 'JSON', hex: 'Hex', image: 'Image' }

/** One block, in the way that suits it, or as chosen. */
export function BlockContent({ route, block, revision }: { route: Route; block: number; revision: number }) {
  const base = `feeds/${route.feed}/blocks/${block}`
  const state = useFollowed((signal) => get<{ state: BlockState }>(base, signal), [base], revision, 500).value
    ?.state
  const loaded = useLoaded(
    async (signal) =>
      state === 'present'
        ? new Uint8Array(await (await ask(`${base}/content`, { signal })).arrayBuffer())
        : null,
    [base, state]
  )
  const [chosen, setChosen] = useState<Kind | null>(null)
  const content = loaded.value
  const kind = chosen ?? (content === null ? 'text' : kindOf(content))
  return (
    <Card
      title={`Block ${number(block)}`}
      extra={
        <span>
          {state && <State state={state} />}{' '}
          {content && <span class="soft">{bytes(content.byteLength)}</span>}
        </span>
      }
    >
      {loaded.error && <Problem>{loaded.error}</Problem>}
      {content && (
        <>
          <fieldset class="kinds">
            <legend class="hidden">Show as</legend>
            {KINDS.map((name) => (
              <label key={name} class={name === kind ? 'chosen' : undefined}>
                <input type="radio" name="kind" checked={name === kind} onChange={() => setChosen(name)} />
                {NAMES[name]}
              </label>
            ))}
          </fieldset>
          <Shown content={content} kind={kind} block={block} />
        </>
      )}
      {state !== undefined && state !== 'present' && <Absent base={base} state={state} />}
      <p class="actions">
        <a href={linkTo({ ...route, view: 'tree', block })}>Its proof</a>
        <a href={linkTo({ ...route, view: 'map', block })}>In the map</a>
        {content && <Save content={content} block={block} />}
      </p>
    </Card>
  )
}

function Absent({ base, state }: { base: string; state: BlockState }) {
  const [message, setMessage] = useState<string | null>(null)
  const fetchIt = async () => {
    setMessage('Asking the peers …')
    try {
      await send('POST', `${base}/fetch`)
      setMessage('It is here.')
    } catch (error) {
      setMessage(wordsOf(error))
    }
  }
  return (
    <>
      <p>{state === 'downloading' ? 'This block is on its way.' : 'The bytes of this block are not here.'}</p>
      <p class="actions">
        <button type="button" onClick={fetchIt}>
          Fetch it from peers
        </button>
        <span role="status">{message}</span>
      </p>
    </>
  )
}

function Shown({ content, kind, block }: { content: Uint8Array; kind: Kind; block: number }) {
  const [steps, setSteps] = useState(1)
  // A byte takes more room as digits than as a letter.
  const limit = (kind === 'hex' ? SHOWN / 4 : SHOWN) * steps
  if (kind === 'image') return <Picture content={content} block={block} />
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what is scrolled with the pointer is scrolled with keys */}
      <section class="scroll shown" tabIndex={0} aria-label={`Block ${block} as ${NAMES[kind]}`}>
        {kind === 'hex' ? (
          <HexTable content={content} limit={limit} />
        ) : (
          <Text content={content} limit={limit} json={kind === 'json'} />
        )}
      </section>
      {content.byteLength > limit && (
        <p class="actions">
          <button type="button" onClick={() => setSteps(steps * 4)}>
            Show more
          </button>
          <span class="soft">
            {bytes(limit)} of {bytes(content.byteLength)}
          </span>
        </p>
      )}
    </>
  )
}

/** Whatever it says: it becomes text of the page, never a part of it. */
function Text({ content, limit, json }: { content: Uint8Array; limit: number; json: boolean }) {
  const text = useMemo(() => {
    if (!json) return new TextDecoder().decode(content.subarray(0, limit))
    const indented = jsonOf(textOf(content))
    return content.byteLength > limit ? (indented?.slice(0, limit) ?? null) : indented
  }, [content, limit, json])
  return text === null ? <p>This block is no JSON.</p> : <pre>{text}</pre>
}

function HexTable({ content, limit }: { content: Uint8Array; limit: number }) {
  const lines = useMemo(() => hexDump(content, limit), [content, limit])
  return (
    <pre class="hex-dump">
      {lines.map(({ offset, hex, text }) => `${offset}  ${hex.padEnd(47)}  ${text}\n`)}
    </pre>
  )
}

/** Only of types that are nothing but pixels, told by the bytes; the browser gets them under that type. */
function Picture({ content, block }: { content: Uint8Array; block: number }) {
  const type = imageType(content)
  const url = useBlobUrl(content, type)
  const [failed, setFailed] = useState(false)
  if (type === null) return <p>This block is no picture that can be shown.</p>
  if (failed) return <p>This block begins like a picture ({type}), but is none.</p>
  return (
    <p class="picture">{url && <img src={url} alt={`Block ${block}`} onError={() => setFailed(true)} />}</p>
  )
}

function Save({ content, block }: { content: Uint8Array; block: number }) {
  const url = useBlobUrl(content, 'application/octet-stream')
  if (url === null) return null
  return (
    <a href={url} download={`block-${block}.bin`}>
      Save
    </a>
  )
}

function useBlobUrl(content: Uint8Array, type: string | null): string | null {
  const [url, setUrl] = useState<string | null>(null)
  useEffect(() => {
    if (type === null) return
    const made = URL.createObjectURL(new Blob([content as Uint8Array<ArrayBuffer>], { type }))
    setUrl(made)
    return () => URL.revokeObjectURL(made)
  }, [content, type])
  return url
}
