/**
 * A second thread that hashes while this one goes on. Hashing is what a large block costs: 70 of some 90 µs of appending 64 KB,
 * and a third of replicating it; of small ones that are appended together, it is half.
 *
 * The thread is offered work through shared memory, and whoever needs a result that is not there yet takes the work back and
 * does it, or, if it was begun, waits for no longer than twice what it takes. So a thread that gets no processor, or could
 * not be started, holds nobody up, and no caller has to know whether there is one.
 *
 * The memory is `SLOTS` slots, each for one offer, which is of one large input or of some small ones:
 *
 *     control  = changes ‖ asleep ‖ for each slot: state ‖ for each slot: number of inputs ‖ for each slot: where they end ‖
 *                for each slot: MOST_INPUTS starts ‖ for each slot: MOST_INPUTS sizes      (32 bit numbers)
 *     results  = for each slot: MOST_INPUTS times 32 bytes
 *     messages = for each slot: SLOT_SIZE bytes, with each input behind its prefix
 */
import { availableParallelism, cpus } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { IHasher } from 'hash-wasm'
import { deno } from '../util/deno.ts'
import { requireFor } from '../util/require.ts'
import { Crowding } from './crowding.ts'
import { hashOffers } from './hash-worker.ts'
import { MOST_INPUTS, type Offer, type Prefix, SMALLEST_OFFER } from './offer.ts'
import { wasmBlake2bPath } from './wasm-blake2b.ts'

const BINDING = 'sodium-native/binding.js'
const SLOTS = 16
const STATES = 2
const COUNTS = STATES + SLOTS
const ENDS = COUNTS + SLOTS
const STARTS = ENDS + SLOTS
const SIZES = STARTS + SLOTS * MOST_INPUTS
const CONTROL_SIZE = SIZES + SLOTS * MOST_INPUTS
const WORD = 8
// An input lies behind so many bytes, the last of which are its prefix, and up to a word.
const LARGEST_PREFIX = 2 * WORD
const LARGEST_INPUT = 1024 * 1024

/** Where everything is, and what states a slot has: only the thread changes READY to TAKEN to DONE, only this side the rest. */
const layout = {
  SLOTS,
  SLOT_SIZE: LARGEST_PREFIX + WORD + LARGEST_INPUT,
  MOST_INPUTS,
  RESULT_SIZE: 32,
  CHANGES: 0,
  ASLEEP: 1,
  STATES,
  COUNTS,
  ENDS,
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
  readonly messages: Uint8Array
  /** One of the two: the faster one here. To load libsodium into a thread takes a megabyte. */
  readonly native: Binding['crypto_generichash'] | null
  readonly wasm: Pick<IHasher, 'init' | 'update' | 'digest'> | null
}

/** Which BLAKE2b is faster here. */
export type Implementation = 'native' | 'wasm'

// A thread takes 40 ms and some megabytes. Who hashes less than this does without.
const WORTH_IT = 32 * 1024 * 1024
// It hashes at twice this rate on slow machines, where each input takes as long as if it were larger by so much.
const BYTES_A_MILLISECOND = 400_000
const BYTES_PER_INPUT = 512
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

  get done(): boolean {
    return this.thread.done(this.slot, this)
  }

  into(target: Uint8Array, offset: number, stride: number): boolean {
    return this.thread.take(this.slot, this, target, offset, stride)
  }
}

/** The thread and its memory. */
class HashThread {
  private readonly control: Int32Array
  private readonly results: Uint8Array
  private readonly messages: Uint8Array
  // Who has not asked for its result yet.
  private readonly offers: (Offer | null)[] = new Array(SLOTS).fill(null)
  // Where to look for a result that nobody asks for.
  private next = 0
  private readonly worker: Worker
  readonly implementation: Implementation

  constructor(implementation: Implementation, ended: () => void) {
    this.implementation = implementation
    this.control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_SIZE))
    this.results = new Uint8Array(new SharedArrayBuffer(RESULT_SIZE * MOST_INPUTS * SLOTS))
    this.messages = new Uint8Array(new SharedArrayBuffer(SLOT_SIZE * SLOTS))
    const { control, results, messages } = this
    const program =
      "const { memory, binding, path } = require('node:worker_threads').workerData;" +
      `const begin = (native, wasm) => (${hashOffers})({ ...memory, native, wasm });` +
      'if (path === null) begin(require(binding).crypto_generichash, null);' +
      'else require(path).createBLAKE2b(256).then((wasm) => begin(null, wasm))'
    this.worker = new Worker(program, {
      eval: true,
      workerData: {
        memory: { layout, control, results, messages },
        binding: requireFor(BINDING).resolve(BINDING),
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

  offer(prefix: Prefix, inputs: readonly Uint8Array[], from: number, to: number): Offer | null {
    const slot = this.freeSlot()
    if (slot === -1) return null
    const { control, messages } = this
    let at = slot * SLOT_SIZE
    for (let i = from; i < to; i++) {
      const input = inputs[i]!
      // Shared memory is copied word by word if both sides begin at the same place of a word, else byte by byte, in eight
      // times the time.
      const start = at + LARGEST_PREFIX + (input.byteOffset % WORD)
      messages.set(input, start)
      prefix.write(messages, start - prefix.size, input)
      const entry = slot * MOST_INPUTS + i - from
      control[STARTS + entry] = start - prefix.size
      control[SIZES + entry] = prefix.size + input.length
      at = start + input.length
      at += -at & (WORD - 1)
    }
    control[COUNTS + slot] = to - from
    control[ENDS + slot] = at
    const made = new SlotOffer(this, slot)
    this.offers[slot] = made
    Atomics.store(control, STATES + slot, READY)
    Atomics.add(control, CHANGES, 1)
    // Once: until it has woken up it would seem to be asleep.
    if (Atomics.compareExchange(control, ASLEEP, 1, 0) === 1) Atomics.notify(control, CHANGES)
    return made
  }

  /** The first one that is free: what has been used before is in memory, and in caches. */
  private freeSlot(): number {
    const { control, offers } = this
    for (let slot = 0; slot < SLOTS; slot++) {
      const state = Atomics.load(control, STATES + slot)
      if (state === FREE || (state === DONE && offers[slot] === null)) return slot
    }
    // A result that nobody has asked for in a whole round: whoever still does will hash again.
    for (let i = 0; i < SLOTS; i++) {
      const slot = (this.next + i) % SLOTS
      if (Atomics.load(control, STATES + slot) !== DONE) continue
      this.next = slot + 1
      return slot
    }
    return -1
  }

  begun(slot: number, offer: Offer): boolean {
    return this.offers[slot] === offer && Atomics.load(this.control, STATES + slot) >= TAKEN
  }

  done(slot: number, offer: Offer): boolean {
    return this.offers[slot] === offer && Atomics.load(this.control, STATES + slot) === DONE
  }

  take(slot: number, offer: Offer, target: Uint8Array, offset: number, stride: number): boolean {
    if (this.offers[slot] !== offer) return false
    this.offers[slot] = null
    const { control, results } = this
    const at = STATES + slot
    if (Atomics.compareExchange(control, at, READY, FREE) === READY) return false
    // It is at work: this takes no longer than to begin anew, unless it was stopped by the system.
    const count = control[COUNTS + slot]!
    const work = control[ENDS + slot]! - slot * SLOT_SIZE + count * BYTES_PER_INPUT
    const until = performance.now() + work / BYTES_A_MILLISECOND
    for (let tries = 1; Atomics.load(control, at) !== DONE; tries++) {
      if (tries % 256 === 0 && performance.now() > until) return false
    }
    let from = slot * MOST_INPUTS * RESULT_SIZE
    for (let to = offset, last = offset + count * stride; to < last; to += stride) {
      for (let i = 0; i < RESULT_SIZE; i++) target[to + i] = results[from + i]!
      from += RESULT_SIZE
    }
    Atomics.store(control, at, FREE)
    return true
  }
}

let thread: HashThread | null = null
/** Whether the thread is left alone. */
export const crowding = new Crowding({
  usage: () => process.resourceUsage(),
  processors: cpus,
  now: () => performance.now()
})
// In Deno a thread takes seconds to start, in which this one stands still, and its limits end the process.
let allowed = availableParallelism() > 1 && deno === null
// Bytes that were offered since there is no thread.
let offered = 0
let used = false
let timer: ReturnType<typeof setInterval> | null = null

/**
 * Offers the hashes of inputs `from` … `to` − 1, each behind its prefix, to another thread. All is copied.
 * @param implementation - what the thread is to hash with; null if that is not known yet: then none is started
 * @returns null if this thread had better do it
 */
export function offerToThread(
  prefix: Prefix,
  inputs: readonly Uint8Array[],
  from: number,
  to: number,
  implementation: Implementation | null
): Offer | null {
  if (!allowed || to - from > MOST_INPUTS || prefix.size > LARGEST_PREFIX) return null
  let size = 0
  let room = 0
  for (let i = from; i < to; i++) {
    const { length } = inputs[i]!
    size += length
    room += LARGEST_PREFIX + WORD + length + (-length & (WORD - 1))
  }
  if (size < SMALLEST_OFFER || room > SLOT_SIZE) return null
  if (thread !== null && implementation !== null && thread.implementation !== implementation) stop()
  if (thread === null) {
    offered += size
    if (offered < WORTH_IT || implementation === null || crowding.crowded) return null
    start(implementation)
  }
  if (thread === null || crowding.crowded) return null
  used = true
  return thread.offer(prefix, inputs, from, to)
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
