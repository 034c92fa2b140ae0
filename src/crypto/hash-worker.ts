import type { HashWork } from './hash-thread.ts'

/**
 * What the thread of `hash-thread.ts` does, as long as it lives. It is handed over as text, because a file of its own would be
 * lost where programs are bundled, and could not be loaded where they are run from TypeScript: so it may use nothing but its
 * argument, and has no functions within.
 */
export function hashOffers({ layout, control, results, messages, native, wasm }: HashWork): never {
  const { CHANGES, ASLEEP, STATES, COUNTS, ENDS, STARTS, SIZES, SLOTS, SLOT_SIZE } = layout
  const { MOST_INPUTS, RESULT_SIZE, READY, TAKEN, DONE } = layout
  // libsodium does not take shared memory, and WebAssembly would copy it byte by byte.
  const input = new Uint8Array(SLOT_SIZE)
  const result = new Uint8Array(MOST_INPUTS * RESULT_SIZE)
  const noKey = new ArrayBuffer(0)
  let next = 0
  for (;;) {
    const seen = Atomics.load(control, CHANGES)
    let slot = -1
    for (let i = 0; i < SLOTS && slot === -1; i++) {
      const at = STATES + ((next + i) % SLOTS)
      if (Atomics.load(control, at) !== READY) continue
      if (Atomics.compareExchange(control, at, READY, TAKEN) === READY) slot = at - STATES
    }
    if (slot !== -1) {
      const base = slot * SLOT_SIZE
      const count = control[COUNTS + slot]!
      input.set(messages.subarray(base, control[ENDS + slot]!))
      for (let i = 0; i < count; i++) {
        const entry = slot * MOST_INPUTS + i
        const start = control[STARTS + entry]! - base
        const size = control[SIZES + entry]!
        if (native !== null) {
          native(result.buffer, i * RESULT_SIZE, RESULT_SIZE, input.buffer, start, size, noKey, 0, 0)
        } else {
          wasm!.init()
          wasm!.update(input.subarray(start, start + size))
          result.set(wasm!.digest('binary'), i * RESULT_SIZE)
        }
      }
      results.set(result.subarray(0, count * RESULT_SIZE), slot * MOST_INPUTS * RESULT_SIZE)
      Atomics.store(control, STATES + slot, DONE)
      next = slot + 1
      continue
    }
    // To sleep and to be woken takes longer, and more of the other threads, than to look again so often: some 25 µs.
    let looks = 0
    while (looks < 4000 && Atomics.load(control, CHANGES) === seen) looks++
    if (looks < 4000) continue
    Atomics.store(control, ASLEEP, 1)
    Atomics.wait(control, CHANGES, seen)
    Atomics.store(control, ASLEEP, 0)
  }
}
