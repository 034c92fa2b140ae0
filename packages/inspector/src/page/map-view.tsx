import { useEffect, useRef, useState } from 'preact/hooks'
import type { BlockState, MapWindow } from '../messages.ts'
import { get } from './api.ts'
import type { ViewProps } from './app.tsx'
import { Cells } from './cells.ts'
import { count, number } from './format.ts'
import { useFollowed, useWidth } from './hooks.ts'
import { drawCells, drawStrip, type Grid } from './map-canvas.ts'
import { aroundBlock, moved, type Place, wholeFeed } from './map-window.ts'
import { go } from './navigation.ts'
import { BlockPicker, Card, Legend, Problem } from './parts.tsx'
import { linkTo } from './route.ts'
import { useColours } from './theme.ts'

/** Edge of a cell and height of the map, in CSS pixels. */
const EDGE = 14
const ROWS = 20
/** How often the map is asked for anew, in milliseconds. */
const EVERY = 300
const STRIP_EVERY = 1000
const STRIP_CELLS = 512
/** By how much one step goes closer. */
const CLOSER = 4

/** A map of all blocks, from the whole feed to a single one. */
export function MapView({ route, feed, detail }: ViewProps) {
  const { length } = feed
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const columns = Math.max(8, Math.floor(useWidth(box) / EDGE))
  const capacity = columns * ROWS
  const colours = useColours()
  const [chosen, setChosen] = useState<Place | null>(null)
  const whole = wholeFeed(length, capacity)
  const place = chosen === null || chosen.span >= whole.span ? whole : chosen
  const end = Math.min(length, place.start + capacity * place.span)
  const rows = Math.max(1, Math.min(ROWS, Math.ceil((end - place.start) / place.span / columns)))
  const grid: Grid = { columns, rows, edge: EDGE }
  const selected = Math.min(route.block ?? 0, Math.max(0, length - 1))
  const version = `${detail.revision} ${length} ${detail.peers.reduce((sum, peer) => sum + peer.owed, 0)}`

  const cells = useCells(route.feed, place.start, place.span, capacity, version, EVERY)
  const strip = useCells(
    route.feed,
    0,
    Math.max(1, Math.ceil(length / STRIP_CELLS)),
    STRIP_CELLS,
    version,
    STRIP_EVERY
  )
  const current = cells.value
  const cellOf = (block: number) => Math.floor((block - place.start) / place.span)
  const select = (block: number) => go({ ...route, block: Math.max(0, Math.min(length - 1, block)) })

  // A block that was chosen elsewhere comes into view.
  useEffect(() => {
    if (route.block === null || length === 0) return
    const cell = cellOf(selected)
    if (cell < 0 || cell >= capacity) setChosen(aroundBlock(selected, place.span, length, capacity))
  }, [selected, capacity])

  useEffect(() => {
    if (current === null || canvas.current === null) return
    const target = canvas.current
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches
    let frame = 0
    const draw = () => {
      const now = performance.now()
      drawCells(target, current, grid, cellOf(selected), still ? Number.POSITIVE_INFINITY : now)
      if (!still && current.fading(now)) frame = requestAnimationFrame(draw)
    }
    draw()
    return () => cancelAnimationFrame(frame)
  }, [current, selected, columns, rows, colours])

  const zoom = (span: number, block = selected) => {
    const next = Math.max(1, Math.min(whole.span, span))
    setChosen(next >= whole.span ? null : aroundBlock(block, next, length, capacity))
  }
  const closer = (block = selected) => {
    select(block)
    if (place.span > 1) zoom(place.span / CLOSER, block)
    else go({ ...route, view: 'blocks', block })
  }
  const step = (cellsFurther: number) => {
    const block = Math.max(0, Math.min(length - 1, selected + cellsFurther * place.span))
    select(block)
    const cell = cellOf(block)
    if (cell < 0) setChosen(moved(place, -columns, length, capacity))
    if (cell >= capacity) setChosen(moved(place, columns, length, capacity))
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const action = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      ArrowUp: () => step(-columns),
      ArrowDown: () => step(columns),
      Home: () => step(-length),
      End: () => step(length),
      PageUp: () => setChosen(moved(place, -capacity, length, capacity)),
      PageDown: () => setChosen(moved(place, capacity, length, capacity)),
      '+': () => zoom(place.span / CLOSER),
      '=': () => zoom(place.span / CLOSER),
      '-': () => zoom(place.span * CLOSER),
      Enter: () => closer()
    }[event.key]
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    action()
  }
  const blockAt = (event: MouseEvent): number | null => {
    const { left, top } = canvas.current!.getBoundingClientRect()
    const cell =
      Math.floor((event.clientY - top) / EDGE) * columns + Math.floor((event.clientX - left) / EDGE)
    const block = place.start + cell * place.span
    return block < length ? block : null
  }
  const onClick = (event: MouseEvent) => {
    const block = blockAt(event)
    if (block === null) return
    if (cellOf(block) === cellOf(selected) && route.block !== null) closer(block)
    else select(block)
  }

  return (
    <Card title="Block map" extra={<Legend />}>
      <Strip
        cells={strip.value}
        from={place.start}
        to={end}
        colours={colours}
        choose={(block) => {
          select(block)
          setChosen(
            aroundBlock(block, Math.min(place.span, Math.max(1, whole.span / CLOSER)), length, capacity)
          )
        }}
      />
      <div class="toolbar">
        <button type="button" onClick={() => zoom(place.span / CLOSER)} disabled={place.span === 1}>
          Closer
        </button>
        <button type="button" onClick={() => zoom(place.span * CLOSER)} disabled={place.span >= whole.span}>
          Further
        </button>
        <button type="button" onClick={() => setChosen(null)} disabled={place.span >= whole.span}>
          Whole feed
        </button>
        <BlockPicker
          block={selected}
          length={length}
          choose={(block) => {
            select(block)
            setChosen(aroundBlock(block, place.span, length, capacity))
          }}
        />
      </div>
      <p class="soft">
        Blocks {number(place.start)} to {number(Math.max(0, end - 1))}, {count(place.span, 'block')} in a cell
      </p>
      {cells.error && <Problem>{cells.error}</Problem>}
      <div ref={box} class="map">
        {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: keys go to the map itself */}
        <canvas
          ref={canvas}
          class="cells"
          tabIndex={0}
          role="application"
          aria-label="Map of the blocks"
          aria-describedby="map-readout"
          style={{ width: `${columns * EDGE}px`, height: `${rows * EDGE}px` }}
          onClick={onClick}
          onKeyDown={onKeyDown}
        />
      </div>
      <div class="readout" id="map-readout" role="status">
        {current === null || length === 0 ? 'No blocks' : describe(current, cellOf(selected))}
      </div>
      {length > 0 && (
        <p class="actions">
          <button type="button" onClick={() => closer()} disabled={place.span === 1}>
            Go closer here
          </button>
          <a href={linkTo({ ...route, view: 'blocks', block: selected })}>Show block {number(selected)}</a>
          <a href={linkTo({ ...route, view: 'tree', block: selected })}>Its proof</a>
        </p>
      )}
    </Card>
  )
}

const WORDS: [BlockState, string][] = [
  ['present', 'here'],
  ['downloading', 'downloading now'],
  ['missing', 'missing'],
  ['cleared', 'cleared'],
  ['damaged', 'damaged']
]

function describe(cells: Cells, cell: number): string {
  if (cell < 0 || cell >= cells.window.present.length) return 'The chosen block is outside of this window'
  const [from, to] = cells.blocksOf(cell)
  const counts = cells.countsOf(cell)
  const states = WORDS.filter(([state]) => counts[state] > 0)
  if (to - from === 1) return `Block ${number(from)}: ${states[0]?.[1] ?? 'missing'}`
  return `Blocks ${number(from)} to ${number(to - 1)}: ${states.map(([state, word]) => `${number(counts[state])} ${word}`).join(', ')}`
}

/** The cells of a window, which remember what has just come. */
function useCells(feed: string, start: number, span: number, cells: number, version: string, every: number) {
  const before = useRef<Cells | null>(null)
  return useFollowed(
    async (signal) => {
      const window = await get<MapWindow>(
        `feeds/${feed}/map?start=${start}&span=${span}&cells=${cells}`,
        signal
      )
      before.current = new Cells(window, before.current, performance.now())
      return before.current
    },
    [feed, start, span, cells],
    version,
    every
  )
}

function Strip(props: {
  cells: Cells | null
  from: number
  to: number
  colours: number
  choose(block: number): void
}) {
  const { cells, from, to, colours, choose } = props
  const canvas = useRef<HTMLCanvasElement>(null)
  const width = useWidth(canvas)
  useEffect(() => {
    if (cells !== null && canvas.current !== null && cells.window.length > 0)
      drawStrip(canvas.current, cells, from, to)
  }, [cells, from, to, colours, width])
  const onClick = (event: MouseEvent) => {
    const { left, width: breadth } = canvas.current!.getBoundingClientRect()
    if (cells !== null) choose(Math.floor(((event.clientX - left) / breadth) * cells.window.length))
  }
  // The same can be done with the buttons below: for the keyboard this is a picture.
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: nothing can focus it
  return <canvas ref={canvas} class="strip" aria-hidden="true" onClick={onClick} />
}
