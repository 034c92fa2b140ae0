import { useLayoutEffect, useState } from 'preact/hooks'
import { linkTo, parseRoute, type Route } from './route.ts'

/** Goes there. */
export function go(route: Route): void {
  location.hash = linkTo(route)
}

/** The route, now and whenever it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash))
  useLayoutEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash))
    addEventListener('hashchange', changed)
    // It may have changed before anybody listened.
    changed()
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}
