import type { Cells } from './cells.ts'
import { coloursOf } from './theme.ts'

/** Sizes of a drawing, in CSS pixels. */
export interface Grid {
  columns: number
  rows: number
  /** Edge of a cell. */
  edge: number
}

/** Draws the cells: one square each, filled from below by what is here, with a mark for what is special. */
export function drawCells(
  canvas: HTMLCanvasElement,
  cells: Cells,
  { columns, rows, edge }: Grid,
  selected: number,
  now: number
): void {
  const colour = coloursOf(
    'present',
    'missing',
    'downloading',
    'cleared',
    'damaged',
    'fresh',
    'focus',
    'card'
  )
  const scale = devicePixelRatio
  const [width, height] = [Math.round(columns * edge * scale), Math.round(rows * edge * scale)]
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
  const context = canvas.getContext('2d')!
  context.setTransform(scale, 0, 0, scale, 0, 0)
  context.clearRect(0, 0, columns * edge, rows * edge)
  const size = edge - 1
  for (let cell = 0; cell < cells.window.present.length; cell++) {
    const x = (cell % columns) * edge
    const y = Math.floor(cell / columns) * edge
    const counts = cells.countsOf(cell)
    const [from, to] = cells.blocksOf(cell)
    const total = to - from
    context.fillStyle = colour.missing
    context.fillRect(x, y, size, size)
    let bottom = y + size
    for (const state of ['present', 'cleared', 'downloading', 'damaged'] as const) {
      if (counts[state] === 0) continue
      // What is rare is seen all the same.
      const least = state === 'present' || total === 1 ? 0.5 : 2
      const part = Math.max(least, (size * counts[state]) / total)
      context.fillStyle = colour[state]
      context.fillRect(x, Math.max(y, bottom - part), size, Math.min(part, bottom - y))
      bottom = Math.max(y, bottom - part)
    }
    const fresh = cells.freshness(cell, now)
    if (fresh > 0) {
      context.globalAlpha = fresh
      context.fillStyle = colour.fresh
      context.fillRect(x, y, size, size)
      context.globalAlpha = 1
    }
    // Not by colour alone.
    context.strokeStyle = colour.card
    context.lineWidth = 1.5
    if (counts.damaged > 0)
      line(context, [x + 2, y + 2, x + size - 2, y + size - 2], [x + size - 2, y + 2, x + 2, y + size - 2])
    else if (counts.cleared === total) line(context, [x + 2, y + size / 2, x + size - 2, y + size / 2])
    else if (counts.downloading > 0) line(context, [x + size / 2, y + 2, x + size / 2, y + size - 2])
  }
  if (selected >= 0 && selected < cells.window.present.length) {
    context.strokeStyle = colour.focus
    context.lineWidth = 2
    context.strokeRect(
      (selected % columns) * edge + 0.5,
      Math.floor(selected / columns) * edge + 0.5,
      edge - 2,
      edge - 2
    )
  }
}

function line(context: CanvasRenderingContext2D, ...lines: [number, number, number, number][]): void {
  context.beginPath()
  for (const [x, y, toX, toY] of lines) {
    context.moveTo(x, y)
    context.lineTo(toX, toY)
  }
  context.stroke()
}

/** Draws a whole feed as one line of cells, and which part of it is looked at. */
export function drawStrip(canvas: HTMLCanvasElement, cells: Cells, from: number, to: number): void {
  const colour = coloursOf('present', 'missing', 'downloading', 'cleared', 'damaged', 'focus')
  const { present, length } = cells.window
  const scale = devicePixelRatio
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)]
  Object.assign(canvas, { width, height })
  const context = canvas.getContext('2d')!
  for (let cell = 0; cell < present.length; cell++) {
    const [start, end] = cells.blocksOf(cell)
    const x = Math.floor((start / length) * width)
    const breadth = Math.max(1, Math.ceil((end / length) * width) - x)
    const counts = cells.countsOf(cell)
    context.fillStyle = colour.missing
    context.fillRect(x, 0, breadth, height)
    let bottom = height
    for (const state of ['present', 'cleared', 'downloading', 'damaged'] as const) {
      const part = counts[state] === 0 ? 0 : Math.max(1, (height * counts[state]) / (end - start))
      context.fillStyle = colour[state]
      context.fillRect(x, bottom - part, breadth, part)
      bottom -= part
    }
  }
  context.strokeStyle = colour.focus
  context.lineWidth = 2 * scale
  const left = (from / length) * width
  context.strokeRect(
    left + scale,
    scale,
    Math.max(3 * scale, ((to - from) / length) * width - 2 * scale),
    height - 2 * scale
  )
}
