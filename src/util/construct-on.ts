import { Emitter, type EventMap } from './emitter.ts'

// A function, not a class: in Node.js, and in the package `events`.
const initialize = Emitter as unknown as (this: object) => void

// What the next constructor goes on with instead of a new object.
let given: object | null = null

/**
 * Runs constructors on an object that is there already: what `Base.call(this, …)` does where classes are functions, as they were before the
 * language had classes. The prototype of `object` is the caller's matter.
 * @param construct - calls `new` for a class derived from {@link Constructible}
 */
export function constructOn(object: object, construct: () => object): object {
  given = object
  try {
    return construct()
  } finally {
    given = null
  }
}

/** An emitter whose derived classes can be constructed with {@link constructOn}. */
export abstract class Constructible<Events extends EventMap<Events>> extends Emitter<Events> {
  constructor() {
    super()
    if (given === null) return
    const object = given as this
    given = null
    initialize.call(object)
    // The constructors and the initializers of derived classes go on with what this one returns.
    // biome-ignore lint/correctness/noConstructorReturn: see above
    return object
  }
}
