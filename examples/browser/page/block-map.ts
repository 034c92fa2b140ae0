/** How long a block shows that it has just arrived, in milliseconds. */
const FRESH = 1200
const GAP = 1
/** Edges of the squares in pixels, from the largest: what fits is taken. */
const EDGES = [14, 12, 10, 8, 6, 5, 4, 3]
const MAX_HEIGHT = 210

/** The picture of a feed: one square for each block. */
export class BlockMap {
  readonly #canvas: HTMLCanvasElement
  readonly #has: (block: number) => boolean
  readonly #arrived = new Map<number, number>()
  readonly #fade = !matchMedia('(prefers-reduced-motion: reduce)').matches

  /** @param has - whether a block is here */
  constructor(canvas: HTMLCanvasElement, has: (block: number) => boolean) {
    this.#canvas = canvas
    this.#has = has
  }

  /** A block has just come. */
  arrive(block: number): void {
    this.#arrived.set(block, performance.now())
  }

  /** Draws `length` blocks. */
  draw(length: number): void {
    const canvas = this.#canvas
    const width = canvas.clientWidth
    const [edge, columns] = squares(width, length)
    const height = Math.ceil(Math.max(length, 1) / columns) * edge
    // The rest of the width is spread over the columns.
    const left = (column: number): number => Math.round((column * width) / columns)
    const scale = devicePixelRatio
    // Setting a size clears the canvas, which is wanted.
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
    canvas.style.height = `${height}px`
    const context = canvas.getContext('2d')!
    context.scale(scale, scale)
    const colour = colours(canvas)
    const now = performance.now()
    for (let block = 0; block < length; block++) {
      const column = block % columns
      const x = left(column)
      const y = Math.floor(block / columns) * edge
      const breadth = left(column + 1) - x - GAP
      context.fillStyle = this.#has(block) ? colour.here : colour.missing
      context.fillRect(x, y, breadth, edge - GAP)
      const age = now - (this.#arrived.get(block) ?? Number.NEGATIVE_INFINITY)
      if (age >= FRESH) continue
      context.globalAlpha = this.#fade ? 1 - (age / FRESH) ** 2 : 1
      context.fillStyle = colour.fresh
      context.fillRect(x, y, breadth, edge - GAP)
      context.globalAlpha = 1
    }
    for (const [block, time] of this.#arrived) if (now - time >= FRESH) this.#arrived.delete(block)
  }
}

/** Edge of a square and squares in a row, so that `length` of them fit into the height if they can. */
function squares(width: number, length: number): [number, number] {
  for (const edge of EDGES) {
    const columns = Math.max(1, Math.floor(width / edge))
    if (Math.ceil(length / columns) * edge <= MAX_HEIGHT) return [edge, columns]
  }
  const smallest = EDGES.at(-1)!
  return [smallest, Math.max(1, Math.floor(width / smallest))]
}

// The style sheet has them, for light and dark; what a legend shows is what the browser made of them.
function colours(canvas: HTMLCanvasElement): Record<'missing' | 'here' | 'fresh', string> {
  const of = (name: string): string =>
    getComputedStyle(canvas.parentElement!.querySelector(`.legend .${name}`)!).backgroundColor
  return { missing: of('missing'), here: of('here'), fresh: of('fresh') }
}
