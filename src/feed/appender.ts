import { signable, treeHash } from '../crypto/hash.ts'
import { DDatabaseError } from '../errors.ts'
import { MerkleBatch } from '../merkle/batch.ts'
import type { TreeNode } from '../merkle/node.ts'
import type { Commit } from '../storage/storage.ts'
import { storageError } from '../storage/storage-error.ts'
import { encodeNode } from '../storage/tree-file.ts'
import type { Callback } from '../util/callback.ts'
import type { Application } from './application.ts'
import type { Core } from './core.ts'
import { type Codec, encodeBlock } from './encoding.ts'
import { RESTORABLE_SLOTS } from './maintenance.ts'

/** What an append needs to know of its feed. */
export interface AppendTarget {
  /** The open feed. Errors: why it cannot be opened. */
  ready(): Promise<Core>
  /** Errors: `ERR_NOT_WRITABLE`, `ERR_FEED_CLOSED`. */
  checkWritable(): void
  readonly codec: Codec
  readonly application: Application
  readonly secretKey: Uint8Array | null
  readonly indexing: boolean
  /** A longer history of the feed, which is not here, is given up. */
  gaveUp(): void
  /** Blocks `start` … are part of the feed now. */
  appended(start: number, count: number): void
}

/** One call of append. */
interface Call {
  blocks: readonly Uint8Array[]
  /** For the hook, null if there is none. */
  values: readonly unknown[] | null
  /** Append also if a longer history is signed that is not here. */
  force: boolean
  answer: Callback<number>
  answered: boolean
  /** What it is answered. */
  error: Error | null
  seq: number
}

/**
 * Group commit (spec FORMAT §7): the first append runs at once, and all that arrive while it runs become one batch
 * with one signature. A value that cannot be appended fails its own call only; a failure to store fails all calls
 * of the batch and leaves the feed as it was.
 */
export class Appender {
  private readonly target: AppendTarget
  private waiting: Call[] = []
  private running: Promise<void> | null = null
  private readonly flushing = new Set<Promise<void>>()
  private answered: Call[] = []

  constructor(target: AppendTarget) {
    this.target = target
  }

  /**
   * Appends a value, or an array of them, as part of a batch; `answer` gets the index of the first one when they are
   * stored, and never at once. They are encoded now: what becomes of them later does not matter, except for the content of buffers, which are not copied. A callback
   * and no promise: with many small appends at once, promises cost more than all the rest.
   */
  append(data: unknown, answer: Callback<number>, force = false): void {
    const { codec, application } = this.target
    const call: Call = { blocks: [], values: null, force, answer, answered: false, error: null, seq: -1 }
    try {
      call.blocks = encodeBlocks(codec, data)
    } catch (error) {
      this.reply(call, error as Error)
      return
    }
    if (application.hooked) call.values = Array.isArray(data) ? [...data] : [data]
    this.waiting.push(call)
    this.running ??= this.run()
  }

  /** Whether an append is under way. */
  get busy(): boolean {
    return this.running !== null
  }

  /** Resolves when every append so far is answered. */
  async idle(): Promise<void> {
    while (this.running !== null || this.flushing.size > 0) {
      await this.running
      await Promise.all(this.flushing)
    }
  }

  /** Answers a call, once: when a batch fails, those that were refused before have their answer already. */
  private reply(call: Call, error: Error | null, seq = -1): void {
    if (call.answered) return
    call.answered = true
    call.error = error
    call.seq = seq
    // One step for all of a batch: with many small appends at once, one for each would take longer than to hash them.
    if (this.answered.length === 0) queueMicrotask(() => this.giveAnswers())
    this.answered.push(call)
  }

  private giveAnswers(): void {
    const { answered } = this
    this.answered = []
    for (const { answer, error, seq } of answered) {
      try {
        if (error === null) answer(null, seq)
        else answer(error)
      } catch (thrown) {
        // What an application's callback throws is its own affair, and not that of the next one.
        queueMicrotask(() => {
          throw thrown
        })
      }
    }
  }

  private async run(): Promise<void> {
    while (this.waiting.length > 0) {
      const calls = this.waiting
      this.waiting = []
      try {
        await this.commit(await this.target.ready(), calls)
      } catch (error) {
        for (const call of calls) this.reply(call, error as Error)
      }
    }
    this.running = null
  }

  private async commit(core: Core, calls: readonly Call[]): Promise<void> {
    const { target } = this
    const { application } = target
    target.checkWritable()
    let accepted = calls
    if (core.behind > core.length) accepted = this.despiteBehind(calls)
    if (application.hooked) accepted = await this.accepted(core, accepted)
    const blocks: Uint8Array[] = []
    for (const call of accepted) for (const block of call.blocks) blocks.push(block)
    const forced = accepted.some(isForced)
    let start = core.length
    if (blocks.length > 0) start = await this.store(core, blocks, forced)
    else if (accepted.length > 0 && !target.indexing) await core.change(() => core.storage.createData())
    let seq = start
    for (const call of accepted) {
      if (call.blocks.length === 0 && core.storage.durability.offered) this.flush(core, call, seq)
      else this.reply(call, null, seq)
      seq += call.blocks.length
    }
  }

  /** Answers a call without blocks when all before it survives a power failure. */
  private flush(core: Core, call: Call, seq: number): void {
    const flushed = core.storage.durability.all().then(
      () => this.reply(call, null, seq),
      (error: Error) => this.reply(call, error)
    )
    this.flushing.add(flushed)
    void flushed.finally(() => this.flushing.delete(flushed))
  }

  /**
   * The calls that are to be made although a longer history is signed that is not here: all if one of them insists, which gives
   * that history up, else those without blocks. The others are answered.
   */
  private despiteBehind(calls: readonly Call[]): readonly Call[] {
    if (calls.some(isForced)) return calls
    return calls.filter((call) => {
      const goes = call.blocks.length === 0
      if (!goes) this.reply(call, new DDatabaseError('ERR_BEHIND'))
      return goes
    })
  }

  /** The calls that the hook agrees to; the others are answered. */
  private async accepted(core: Core, calls: readonly Call[]): Promise<Call[]> {
    const accepted: Call[] = []
    let next = core.length
    for (const call of calls) {
      try {
        await this.target.application.beforeAppend(next, call.values!)
        next += call.blocks.length
        accepted.push(call)
      } catch (error) {
        this.reply(call, error as Error)
      }
    }
    return accepted
  }

  /** Appends blocks that nobody objects to; the index of the first one. */
  private async store(core: Core, blocks: readonly Uint8Array[], forced: boolean): Promise<number> {
    const { application } = this.target
    if (!application.ownCrypto || !core.live) {
      return core.change(async () => {
        const givesUp = this.givesUp(core, forced)
        const run = { offset: core.byteLength, blocks }
        const ahead = givesUp || this.target.indexing ? null : core.storage.writeAhead(run)
        try {
          const batch = batchOf(core, blocks)
          const roots = batch.roots()
          const signature = core.live ? await this.signHead(roots, batch.length) : null
          return await this.write(core, blocks, batch, roots, signature, forced, ahead)
        } finally {
          // Whatever comes next may write to the same place.
          if (ahead !== null) await ahead
        }
      })
    }
    for (;;) {
      const before = core.roots
      const batch = batchOf(core, blocks)
      const roots = batch.roots()
      const signature = await this.signHead(roots, batch.length)
      const start = await core.change(async () => {
        // The signer has taken its time: a feed that has become another one takes another signature.
        if (core.roots !== before) return null
        return this.write(core, blocks, batch, roots, signature, forced, null)
      })
      if (start !== null) return start
    }
  }

  private async write(
    core: Core,
    blocks: readonly Uint8Array[],
    batch: MerkleBatch,
    roots: TreeNode[],
    signature: Uint8Array | null,
    forced: boolean,
    ahead: Promise<unknown> | null
  ): Promise<number> {
    const givesUp = this.givesUp(core, forced)
    const start = core.length
    const slots = batch.reachingBack.map((node) => ({ treeIndex: node.index, bytes: encodeNode(node) }))
    slots.push({ treeIndex: 2 * start, bytes: batch.slots })
    const stage = core.stage()
    stage.bits.setRange(start, batch.length, true)
    stage.treeBits.setAppended(start, batch.length)
    // A cache of the application's may know blocks of this number from before a truncate or an overwrite.
    for (let block = start; core.storage.blocks !== null && block < batch.length; block++) {
      core.storage.blocks.delete(block)
    }
    await core.commit(
      {
        data: this.target.indexing || ahead !== null ? [] : [{ offset: core.byteLength, blocks }],
        ahead: ahead ?? undefined,
        // What is given up lies there as long as it is not.
        appended:
          this.target.indexing || givesUp
            ? undefined
            : { offset: core.byteLength, size: batch.byteLength - core.byteLength },
        slots,
        signature: signature === null ? null : { block: batch.length - 1, signature },
        synced: givesUp || core.storage.durability.mode === 'disk',
        last: givesUp ? await lostSignatures(core, batch.length) : undefined
      },
      stage,
      { length: batch.length, byteLength: batch.byteLength, roots }
    )
    if (givesUp) {
      core.behind = 0
      this.target.gaveUp()
    }
    core.verified?.appended(start, batch.length, batch.reachingBack)
    this.target.appended(start, blocks.length)
    return start
  }

  /**
   * Whether an append gives up a longer history that is signed and not here. Asked again when the application was asked for a
   * signature: the feed may have closed, or met such a history, meanwhile. Errors: `ERR_NOT_WRITABLE`, `ERR_BEHIND`.
   */
  private givesUp(core: Core, forced: boolean): boolean {
    this.target.checkWritable()
    const givesUp = core.behind > core.length
    if (givesUp && !forced) throw new DDatabaseError('ERR_BEHIND')
    return givesUp
  }

  /** Signature of the feed with these roots and this length. Errors: `ERR_SIGNING`, `ERR_FEED_CLOSED`. */
  signHead(roots: readonly TreeNode[], length: number): Promise<Uint8Array> {
    return this.target.application.sign(signable(treeHash(roots), length), this.target.secretKey!)
  }
}

/** The block of a value, or those of an array of values. */
function encodeBlocks(codec: Codec, data: unknown): Uint8Array[] {
  // An array that grows takes room for many more: with 50,000 single appends at once, 7 MB.
  if (!Array.isArray(data)) return [encodeBlock(codec, data)]
  const blocks: Uint8Array[] = []
  for (let i = 0; i < data.length; i++) blocks.push(encodeBlock(codec, data[i]))
  return blocks
}

function isForced({ force, blocks }: Call): boolean {
  return force && blocks.length > 0
}

/**
 * Removes the signatures of a history that is given up: all from the end of the feed on, but that of the batch which ends at `length`.
 * The next opening would find them again.
 */
async function lostSignatures(core: Core, length: number): Promise<Commit['last']> {
  const { signatures } = core.storage
  const { length: start } = core
  const end = signatures.slots
  if (end <= start) return undefined
  const from = Math.max(start, end - RESTORABLE_SLOTS)
  try {
    const copied = await signatures.copy(from, end)
    return {
      async run() {
        if (end > length) await signatures.remove(length, end)
        if (length - 1 > start) await signatures.remove(start, length - 1)
      },
      undo: () => signatures.restore(from, copied)
    }
  } catch (error) {
    throw storageError(error)
  }
}

function batchOf(core: Core, blocks: readonly Uint8Array[]): MerkleBatch {
  const batch = new MerkleBatch(core.roots, core.length, core.byteLength, blocks.length)
  batch.appendAll(blocks)
  return batch
}
