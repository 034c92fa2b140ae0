import { signable, treeHash } from '../crypto/hash.ts'
import { SIGNATURE_SIZE } from '../crypto/keys.ts'
import { DDatabaseError } from '../errors.ts'
import { MerkleBatch } from '../merkle/batch.ts'
import type { TreeNode } from '../merkle/node.ts'
import { encodeNode } from '../storage/tree-file.ts'
import { type Callback, promised } from '../util/callback.ts'
import type { Core } from './core.ts'
import { type Codec, encodeBlock } from './encoding.ts'
import { type CryptoHooks, DEFAULT_CRYPTO, type WriteHook } from './options.ts'

/** What an append needs to know of its feed. */
export interface AppendTarget {
  /** The open feed. Errors: why it cannot be opened. */
  ready(): Promise<Core>
  /** Errors: `ERR_NOT_WRITABLE`, `ERR_FEED_CLOSED`. */
  checkWritable(): void
  readonly codec: Codec
  readonly crypto: CryptoHooks
  readonly secretKey: Uint8Array | null
  readonly onwrite: WriteHook | null
  readonly indexing: boolean
  /** Blocks `start` … are part of the feed now. */
  appended(start: number, count: number): void
}

/** One call of append. */
interface Call {
  values: readonly unknown[]
  answer: Callback<number>
  answered: boolean
}

/** Answers a call, once: when a batch fails, those that were refused before have their answer already. */
function reply(call: Call, error: Error | null, seq?: number): void {
  if (call.answered) return
  call.answered = true
  call.answer(error, seq)
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

  constructor(target: AppendTarget) {
    this.target = target
  }

  /**
   * Appends `values` as part of a batch; `answer` gets the index of the first one when they are stored. A callback and
   * no promise: with many small appends at once, promises cost more than all the rest.
   */
  append(values: readonly unknown[], answer: Callback<number>): void {
    this.waiting.push({ values, answer, answered: false })
    this.running ??= this.run()
  }

  /** Whether an append is under way. */
  get busy(): boolean {
    return this.running !== null
  }

  /** Resolves when every append so far is answered. */
  async idle(): Promise<void> {
    while (this.running !== null) await this.running
  }

  private async run(): Promise<void> {
    while (this.waiting.length > 0) {
      const calls = this.waiting
      this.waiting = []
      try {
        const core = await this.target.ready()
        await core.mutex.run(() => this.commit(core, calls))
      } catch (error) {
        for (const call of calls) reply(call, error as Error)
      }
    }
    this.running = null
  }

  private async commit(core: Core, calls: readonly Call[]): Promise<void> {
    const { target } = this
    target.checkWritable()
    const accepted: Call[] = []
    const blocks: Uint8Array[] = []
    for (const call of calls) {
      try {
        // Awaiting nothing would cost more than the rest of a small append that is one of many.
        if (target.onwrite !== null) await this.ask(target.onwrite, call.values, core.length + blocks.length)
        // All are encoded before any is taken: nothing is staged unless all are good.
        const encoded = call.values.map((value) => encodeBlock(target.codec, value))
        for (const block of encoded) blocks.push(block)
        accepted.push(call)
      } catch (error) {
        reply(call, error as Error)
      }
    }
    const start = core.length
    if (blocks.length > 0) {
      // A hook may have taken its time, and the feed may be closing now.
      target.checkWritable()
      await this.store(core, blocks)
      target.appended(start, blocks.length)
    } else if (accepted.length > 0 && !target.indexing) {
      await core.storage.createData()
    }
    let seq = start
    for (const call of accepted) {
      reply(call, null, seq)
      seq += call.values.length
    }
  }

  /** Asks the hook about every value. */
  private async ask(onwrite: WriteHook, values: readonly unknown[], start: number): Promise<void> {
    const asked = values.map((value, i) => promised((callback) => onwrite(start + i, value, null, callback)))
    let failure: unknown = null
    for (const result of await Promise.allSettled(asked)) {
      if (result.status === 'rejected') failure = result.reason
    }
    if (failure !== null) throw failure
  }

  private async store(core: Core, blocks: readonly Uint8Array[]): Promise<void> {
    const start = core.length
    const batch = new MerkleBatch(core.roots, start, core.byteLength, blocks.length)
    for (const block of blocks) batch.append(block)
    const roots = batch.roots()
    const signature = core.live ? await this.signHead(roots, batch.length) : null

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
        data: this.target.indexing ? null : { offset: core.byteLength, blocks },
        slots,
        signature: signature === null ? null : { block: batch.length - 1, signature }
      },
      stage,
      { length: batch.length, byteLength: batch.byteLength, roots }
    )
  }

  /** Signature of the feed with these roots and this length. Errors: `ERR_SIGNING`. */
  async signHead(roots: readonly TreeNode[], length: number): Promise<Uint8Array> {
    const { crypto, secretKey } = this.target
    const message = signable(treeHash(roots), length)
    let signature: Uint8Array | undefined
    try {
      if (crypto === DEFAULT_CRYPTO) crypto.sign(message, secretKey!, (_, value) => (signature = value))
      else signature = await promised<Uint8Array>((callback) => crypto.sign(message, secretKey!, callback))
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new DDatabaseError('ERR_SIGNING', { message: `The signer failed: ${reason}`, cause })
    }
    if (!(signature instanceof Uint8Array) || signature.byteLength !== SIGNATURE_SIZE) {
      throw new DDatabaseError('ERR_SIGNING', { message: 'The signer did not give a signature of 64 bytes' })
    }
    return signature
  }
}
