/**
 * A second thread that hashes large inputs while this one goes on. Hashing is what a large block costs: 70 of some 90 µs of
 * appending 64 KB, and a third of replicating it.
 *
 * The thread is offered work through shared memory, and whoever needs a result that is not there yet takes the work back and
 * does it, or, if it was begun, waits for no longer than twice what it takes. So a thread that gets no processor, or could
 * not be started, holds nobody up, and no caller has to know whether there is one.
 *
 * The memory is `SLOTS` slots, each for one input:
 *
 *     control = changes ‖ asleep ‖ for each slot: state ‖ start ‖ size      (32 bit numbers, by kind)
 *     results = for each slot: 32 bytes
 *     inputs  = for each slot: SLOT_SIZE bytes, in them prefix and input, the latter at any place of the third word
 */
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { IHasher } from 'hash-wasm'
import { Crowding } from './crowding.ts'
import { hashOffers } from './hash-worker.ts'
import type { Offer } from './offer.ts'
import { wasmBlake2bPath } from './wasm-blake2b.ts'

const SLOTS = 16
const STATES = 2
const STARTS = STATES + SLOTS
const SIZES = STARTS + SLOTS
const CONTROL_SIZE = SIZES + SLOTS
const WORD = 8
const LARGEST_PREFIX = 2 * WORD
const LARGEST_INPUT = 1024 * 1024

/** Where everything is, and what states a slot has: only the thread changes READY to TAKEN to DONE, only this side the rest. */
const layout = {
  SLOTS,
  SLOT_SIZE: LARGEST_PREFIX + WORD + LARGEST_INPUT,
  WORD,
  RESULT_SIZE: 32,
  CHANGES: 0,
  ASLEEP: 1,
  STATES,
  STARTS,
  SIZES,
  FREE: 0,
  READY: 1,
  TAKEN: 2,
  DONE: 3
} as const
const { SLOT_SIZE, RESULT_SIZE, CHANGES, ASLEEP, FREE, READY, TAKEN, DONE } = layout

type Binding = typeof import('sodium-native/binding.js').default

/** What the thread works with. All memory is shared; the system gives pages only to what of it is used. */
export interface HashWork {
  readonly layout: typeof layout
  readonly control: Int32Array
  readonly results: Uint8Array
  readonly inputs: Uint8Array
  /** One of the two: the faster one here. To load libsodium into a thread takes a megabyte. */
  readonly native: Binding['crypto_generichash'] | null
  readonly wasm: Pick<IHasher, 'init' | 'update' | 'digest'> | null
}

/** Which BLAKE2b is faster here. */
export type Implementation = 'native' | 'wasm'

// To hand over and to take back costs some microseconds, as much as hashing 4 KB.
const SMALLEST = 8 * 1024
// A thread takes 40 ms and some megabytes. Who hashes less than this does without.
const WORTH_IT = 32 * 1024 * 1024
// It hashes at twice this rate on slow machines.
const BYTES_A_MILLISECOND = 400_000
// Without work for so long it ends.
const IDLE_MS = 5_000

class SlotOffer implements Offer {
  private readonly thread: HashThread
  private readonly slot: number

  constructor(thread: HashThread, slot: number) {
    this.thread = thread
    this.slot = slot
  }

  get begun(): boolean {
    return this.thread.begun(this.slot, this)
  }

  into(target: Uint8Array, offset: number): boolean {
    return this.thread.take(this.slot, this, target, offset)
  }
}

/** The thread and its memory. */
class HashThread {
  private readonly control: Int32Array
  private readonly results: Uint8Array
  private readonly inputs: Uint8Array
  // Who has not asked for its result yet.
  private readonly offers: (Offer | null)[] = new Array(SLOTS).fill(null)
  private next = 0
  private readonly worker: Worker
  readonly implementation: Implementation

  constructor(implementation: Implementation, ended: () => void) {
    this.implementation = implementation
    this.control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_SIZE))
    this.results = new Uint8Array(new SharedArrayBuffer(RESULT_SIZE * SLOTS))
    this.inputs = new Uint8Array(new SharedArrayBuffer(SLOT_SIZE * SLOTS))
    const { control, results, inputs } = this
    const program =
      "const { memory, binding, path } = require('node:worker_threads').workerData;" +
      `const begin = (native, wasm) => (${hashOffers})({ ...memory, native, wasm });` +
      'if (path === null) begin(require(binding).crypto_generichash, null);' +
      'else require(path).createBLAKE2b(256).then((wasm) => begin(null, wasm))'
    this.worker = new Worker(program, {
      eval: true,
      workerData: {
        memory: { layout, control, results, inputs },
        binding: createRequire(import.meta.url).resolve('sodium-native/binding.js'),
        path: implementation === 'wasm' ? wasmBlake2bPath() : null
      },
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 }
    })
    // What it has not done is done here; and it keeps no process alive.
    this.worker.on('error', ended).on('exit', ended).unref()
  }

  end(): void {
    this.worker.removeAllListeners('exit')
    void this.worker.terminate()
  }

  offer(prefix: Uint8Array, input: Uint8Array): Offer | null {
    const slot = this.freeSlot()
    if (slot === -1) return null
    const { control, inputs } = this
    // Shared memory is copied word by word if both sides begin at the same place of a word, else byte by byte, in eight
    // times the time.
    const start = slot * SLOT_SIZE + LARGEST_PREFIX + (input.byteOffset % WORD)
    inputs.set(input, start)
    inputs.set(prefix, start - prefix.byteLength)
    control[STARTS + slot] = start - prefix.byteLength
    control[SIZES + slot] = prefix.byteLength + input.byteLength
    const made = new SlotOffer(this, slot)
    this.offers[slot] = made
    Atomics.store(control, STATES + slot, READY)
    Atomics.add(control, CHANGES, 1)
    // Once: until it has woken up it would seem to be asleep.
    if (Atomics.compareExchange(control, ASLEEP, 1, 0) === 1) Atomics.notify(control, CHANGES)
    return made
  }

  private freeSlot(): number {
    let done = -1
    for (let i = 0; i < SLOTS; i++) {
      const slot = (this.next + i) % SLOTS
      const state = Atomics.load(this.control, STATES + slot)
      if (state === FREE || (state === DONE && this.offers[slot] === null)) {
        this.next = slot + 1
        return slot
      }
      if (state === DONE && done === -1) done = slot
    }
    // A result that nobody has asked for in a whole round: whoever still does will hash again.
    if (done !== -1) this.next = done + 1
    return done
  }

  begun(slot: number, offer: Offer): boolean {
    return this.offers[slot] === offer && Atomics.load(this.control, STATES + slot) >= TAKEN
  }

  take(slot: number, offer: Offer, target: Uint8Array, offset: number): boolean {
    if (this.offers[slot] !== offer) return false
    this.offers[slot] = null
    const { control } = this
    const at = STATES + slot
    if (Atomics.compareExchange(control, at, READY, FREE) === READY) return false
    // It is at work: this takes no longer than to begin anew, unless it was stopped by the system.
    const until = performance.now() + control[SIZES + slot]! / BYTES_A_MILLISECOND
    for (let tries = 1; Atomics.load(control, at) !== DONE; tries++) {
      if (tries % 256 === 0 && performance.now() > until) return false
    }
    const from = slot * RESULT_SIZE
    for (let i = 0; i < RESULT_SIZE; i++) target[offset + i] = this.results[from + i]!
    Atomics.store(control, at, FREE)
    return true
  }
}

let thread: HashThread | null = null
const crowding = new Crowding(() => process.resourceUsage())
let allowed = availableParallelism() > 1
// Bytes that were offered since there is no thread.
let offered = 0
let used = false
let timer: ReturnType<typeof setInterval> | null = null

/**
 * Offers the hash of `prefix` ‖ `input` to another thread. Both are copied.
 * @param implementation - what the thread is to hash with; null if that is not known yet: then none is started
 * @returns null if this thread had better do it
 */
export function offerToThread(
  prefix: Uint8Array,
  input: Uint8Array,
  implementation: Implementation | null
): Offer | null {
  const size = prefix.byteLength + input.byteLength
  if (size < SMALLEST || input.byteLength > LARGEST_INPUT || prefix.byteLength > LARGEST_PREFIX || !allowed) {
    return null
  }
  if (thread !== null && implementation !== null && thread.implementation !== implementation) stop()
  if (thread === null) {
    offered += size
    if (offered < WORTH_IT || implementation === null) return null
    start(implementation)
  }
  if (thread === null || crowding.crowded) return null
  used = true
  return thread.offer(prefix, input)
}

function start(implementation: Implementation): void {
  offered = 0
  try {
    thread = new HashThread(implementation, () => {
      allowed = false
      stop()
    })
  } catch {
    // Threads, or shared memory, are not to be had.
    allowed = false
    return
  }
  timer = setInterval(() => {
    if (!used) stop()
    used = false
  }, IDLE_MS)
  timer.unref()
}

function stop(): void {
  if (timer !== null) clearInterval(timer)
  timer = null
  const ended = thread
  thread = null
  ended?.end()
}
