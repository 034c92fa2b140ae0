import { EventEmitter } from 'events'

/** The shape of an event map: names, and what their listeners are called with. */
export type EventMap<Events> = { [Name in keyof Events]: unknown[] }

/**
 * A Node.js style emitter whose events are known by name. A type of its own, so that the types of this package need
 * neither those of Node.js nor of the package `events`.
 */
export interface Emitter<Events extends EventMap<Events>> {
  /** Calls `listener` whenever the event is emitted. */
  on<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** Same as {@link on}. */
  addListener<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** As {@link on}, before the listeners that are there already. */
  prependListener<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** Calls `listener` the next time the event is emitted, and not again. */
  once<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** As {@link once}, before the listeners that are there already. */
  prependOnceListener<Name extends keyof Events>(
    event: Name,
    listener: (...values: Events[Name]) => void
  ): this
  /** Takes a listener off. */
  off<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** Same as {@link off}. */
  removeListener<Name extends keyof Events>(event: Name, listener: (...values: Events[Name]) => void): this
  /** Takes all listeners off: of one event, or of all. */
  removeAllListeners(event?: keyof Events): this
  /** Calls the listeners of an event; whether there were any. */
  emit<Name extends keyof Events>(event: Name, ...values: Events[Name]): boolean
  /** Number of listeners of an event. */
  listenerCount(event: keyof Events): number
  /** The listeners of an event. */
  // biome-ignore lint/complexity/noBannedTypes: as Node.js has it
  listeners(event: keyof Events): Function[]
  /** As {@link listeners}, with the wrappers of those that are called once. */
  // biome-ignore lint/complexity/noBannedTypes: as Node.js has it
  rawListeners(event: keyof Events): Function[]
  /** Names of the events that have listeners. */
  eventNames(): (string | symbol)[]
  /** From how many listeners of one event on a leak is suspected, and a warning printed. */
  setMaxListeners(count: number): this
  /** See {@link setMaxListeners}. */
  getMaxListeners(): number
}

/** The emitter of the package `events`, which is Node's own where that is there. */
export const Emitter = EventEmitter as unknown as new <Events extends EventMap<Events>>() => Emitter<Events>
