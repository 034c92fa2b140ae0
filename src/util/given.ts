/**
 * Whether an argument or option says anything. `null` counts as not given, like `undefined`: the published packages take it so, and programs written for
 * them pass it.
 */
export function isGiven<V>(value: V): value is NonNullable<V> {
  return value !== undefined && value !== null
}
