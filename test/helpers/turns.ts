/** Counts the turns that the event loop has from now on. @returns ends that, and tells how many there were */
export function countTurns(): () => number {
  let turns = 0
  let counting = true
  const count = (): void => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  return () => {
    counting = false
    return turns
  }
}
