import { useEffect, useState } from 'preact/hooks'
import { linkTo, parseRoute, type Route } from './route.ts'

/** Goes there. */
export function go(route: Route): void {
  location.hash = linkTo(route)
}

/** The route, now and whenever it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash))
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash))
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}
