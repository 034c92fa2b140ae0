import { useEffect, useRef, useState } from 'preact/hooks'
import type { BlockRow } from '../messages.ts'
import { get } from './api.ts'
import type { ViewProps } from './app.tsx'
import { BlockContent } from './block-content.tsx'
import { fromHex, preview } from './bytes.ts'
import { bytes, number } from './format.ts'
import { useFollowed } from './hooks.ts'
import { go } from './navigation.ts'
import { BlockPicker, Card, Problem, State } from './parts.tsx'
import { linkTo } from './route.ts'
import { Search } from './search.tsx'

/** Blocks on one page of the list. */
const ROWS = 25

/** The blocks: a list, one of them in full, and a search. */
export function BlocksView({ route, feed, detail }: ViewProps) {
  const { length } = feed
  const block = Math.min(route.block ?? 0, Math.max(0, length - 1))
  const [start, setStart] = useState(Math.floor(block / ROWS) * ROWS)
  useEffect(() => setStart(Math.floor(block / ROWS) * ROWS), [block])
  const content = useRef<HTMLDivElement>(null)
  const list = useFollowed(
    (signal) => get<BlockRow[]>(`feeds/${route.feed}/blocks?start=${start}&count=${ROWS}`, signal),
    [route.feed, start],
    `${detail.revision} ${length}`,
    1000
  )
  const choose = (next: number) => go({ ...route, block: next })
  if (length === 0) return <Card title="Blocks">There are no blocks yet.</Card>
  return (
    <>
      <Search feed={route.feed} route={route} />
      <div class="split">
        <Card title="Blocks" extra={<BlockPicker block={block} length={length} choose={choose} />}>
          {list.error && <Problem>{list.error}</Problem>}
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what is scrolled with the pointer is scrolled with keys */}
          <section class="scroll" tabIndex={0} aria-label="List of blocks">
            <table class="blocks">
              <thead>
                <tr>
                  <th scope="col">Block</th>
                  <th scope="col">State</th>
                  <th scope="col">Size</th>
                  <th scope="col">Begins with</th>
                </tr>
              </thead>
              <tbody>
                {list.value?.map((row) => (
                  <tr key={row.index} class={row.index === block ? 'chosen' : undefined}>
                    <td>
                      <a
                        href={linkTo({ ...route, block: row.index })}
                        aria-current={row.index === block ? 'true' : undefined}
                        onClick={() => content.current?.scrollIntoView({ block: 'nearest' })}
                      >
                        {number(row.index)}
                      </a>
                    </td>
                    <td>
                      <State state={row.state} />
                    </td>
                    <td class="numeric">{row.size === null ? '–' : bytes(row.size)}</td>
                    <td class="mono preview">{row.preview === null ? '' : beginning(row.preview)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
          <p class="actions">
            <button type="button" disabled={start === 0} onClick={() => setStart(Math.max(0, start - ROWS))}>
              Earlier
            </button>
            <button type="button" disabled={start + ROWS >= length} onClick={() => setStart(start + ROWS)}>
              Later
            </button>
            <button type="button" onClick={() => choose(length - 1)}>
              Newest
            </button>
          </p>
        </Card>
        <div ref={content} class="pane">
          <BlockContent key={block} route={route} block={block} revision={detail.revision} />
        </div>
      </div>
    </>
  )
}

function beginning(hex: string): string {
  return preview(fromHex(hex)) ?? hex.replace(/(..)/g, '$1 ')
}
