/** The views of a feed, in the order of their keys. */
export const VIEWS = ['overview', 'map', 'tree', 'blocks', 'peers', 'write'] as const

/** One of the views. */
export type View = (typeof VIEWS)[number]

/** What the page shows: kept behind the `#` of its address, so that the buttons of the browser work. */
export interface Route {
  feed: string
  view: View
  /** The block that it is about; null if none was chosen. */
  block: number | null
}

/** The route that is in the address. */
export function parseRoute(hash: string): Route {
  const [feed = '', view = '', block = ''] = hash.replace(/^#\/?/, '').split('/')
  return {
    feed: /^\d+$/.test(feed) ? feed : '0',
    view: VIEWS.find((name) => name === view) ?? 'overview',
    block: /^\d{1,15}$/.test(block) ? Number(block) : null
  }
}

/** The address of a route, for links. */
export function linkTo({ feed, view, block }: Route): string {
  return `#/${feed}/${view}${block === null ? '' : `/${block}`}`
}
