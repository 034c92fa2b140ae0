/** A window into feeds: a local web page, for the people who run them. */

export type { InspectedFeed, InspectOptions, Inspector } from './inspect.ts'
export { inspect } from './inspect.ts'
