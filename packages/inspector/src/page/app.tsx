import { useEffect, useRef, useState } from 'preact/hooks'
import type { FeedDetail, FeedSummary } from '../messages.ts'
import { BlocksView } from './blocks-view.tsx'
import { bytes, count, percent } from './format.ts'
import { Help } from './help.tsx'
import { useLive } from './live.ts'
import { MapView } from './map-view.tsx'
import { go, useRoute } from './navigation.ts'
import { Overview } from './overview.tsx'
import { PeersView } from './peers-view.tsx'
import type { RateHistory } from './rates.ts'
import { linkTo, type Route, VIEWS, type View } from './route.ts'
import { useShortcuts } from './shortcuts.ts'
import { useTheme } from './theme.ts'
import { TreeView } from './tree-view.tsx'
import { WriteView } from './write-view.tsx'

const NAMES: Record<View, string> = {
  overview: 'Overview',
  map: 'Block map',
  tree: 'Tree',
  blocks: 'Blocks',
  peers: 'Peers',
  write: 'Append & audit'
}

/** What every view gets. */
export interface ViewProps {
  route: Route
  feed: FeedSummary
  detail: FeedDetail
  rates: RateHistory
}

/** The whole page. */
export function App() {
  const route = useRoute()
  const { connected, feeds, detail, rates } = useLive(route.feed)
  const [theme, nextTheme] = useTheme()
  const [helping, setHelping] = useState(false)
  const main = useRef<HTMLElement>(null)
  const feed = feeds.find(({ id }) => id === route.feed)
  const shortcuts = useShortcuts({
    view: (view) => go({ ...route, view }),
    theme: nextTheme,
    help: () => setHelping(true)
  })

  useEffect(() => {
    document.title =
      feed === undefined ? 'Feeds · ddatabase' : `${NAMES[route.view]} · ${feed.name} · ddatabase`
  }, [feed?.name, route.view])

  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header>
        <h1>ddatabase</h1>
        <p class="connection" role="status" data-connected={connected}>
          {connected ? 'Live' : 'Not connected, trying again'}
        </p>
        <div class="tools">
          <button type="button" onClick={nextTheme}>
            Theme: {theme}
          </button>
          <button type="button" onClick={() => setHelping(true)}>
            Keys
          </button>
        </div>
      </header>
      <div class="frame">
        <nav class="feeds" aria-label="Feeds">
          <ul>
            {feeds.map((one) => (
              <FeedLink key={one.id} feed={one} route={route} />
            ))}
          </ul>
        </nav>
        <div class="content">
          <nav class="views" aria-label="Views">
            <ul>
              {VIEWS.map((view) => (
                <li key={view}>
                  <a
                    href={linkTo({ ...route, view })}
                    aria-current={view === route.view ? 'page' : undefined}
                  >
                    {NAMES[view]}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <main ref={main} tabIndex={-1}>
            {feed === undefined ? (
              <p class="soft">{feeds.length === 0 ? 'Waiting for the feeds …' : 'There is no such feed.'}</p>
            ) : (
              <>
                <Warnings feed={feed} />
                {detail === null ? (
                  <p class="soft">{feed.state === 'opening' ? 'Opening …' : `This feed is ${feed.state}.`}</p>
                ) : (
                  <Chosen key={feed.id} route={route} feed={feed} detail={detail} rates={rates} />
                )}
              </>
            )}
          </main>
        </div>
      </div>
      {helping && <Help close={() => setHelping(false)} shortcuts={shortcuts} />}
    </>
  )
}

function Chosen(props: ViewProps) {
  switch (props.route.view) {
    case 'overview':
      return <Overview {...props} />
    case 'map':
      return <MapView {...props} />
    case 'tree':
      return <TreeView {...props} />
    case 'blocks':
      return <BlocksView {...props} />
    case 'peers':
      return <PeersView {...props} />
    case 'write':
      return <WriteView {...props} />
  }
}

function FeedLink({ feed, route }: { feed: FeedSummary; route: Route }) {
  return (
    <li>
      <a
        href={linkTo({ ...route, feed: feed.id, block: null })}
        aria-current={feed.id === route.feed ? 'true' : undefined}
      >
        <span class="feed-name">{feed.name}</span>
        <span class="soft">
          {feed.state === 'open'
            ? `${count(feed.length, 'block')}, ${bytes(feed.byteLength)}, ${percent(feed.present, feed.length)} here`
            : feed.state}
        </span>
        <span class="tags">
          {feed.writable && <span class="tag">writer</span>}
          {feed.peers > 0 && <span class="tag">{count(feed.peers, 'peer')}</span>}
          {feed.warnings.length > 0 && <span class="tag bad">{count(feed.warnings.length, 'warning')}</span>}
        </span>
      </a>
    </li>
  )
}

function Warnings({ feed }: { feed: FeedSummary }) {
  if (feed.warnings.length === 0) return null
  return (
    <section class="warnings" aria-label="Warnings">
      <ul>
        {feed.warnings.map(({ kind, text }) => (
          <li key={`${kind} ${text}`}>
            <strong>{kind}</strong> {text}
          </li>
        ))}
      </ul>
    </section>
  )
}
