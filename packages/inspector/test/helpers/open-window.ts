import type { Feed } from 'ddatabase'
import type { Test } from 'tape'
import { bundlePage } from '../../scripts/page.ts'
import { type InspectedFeed, type InspectOptions, type Inspector, inspectWith } from '../../src/inspect.ts'

/** Opens a window with the page of the sources; it is closed at the end of the test. */
export async function openWindow(
  t: Test,
  feeds: Feed<unknown> | InspectedFeed | readonly (Feed<unknown> | InspectedFeed)[],
  options: InspectOptions = {}
): Promise<Inspector> {
  const inspector = await inspectWith(await bundlePage(), feeds, options)
  t.teardown(() => inspector.close())
  return inspector
}
