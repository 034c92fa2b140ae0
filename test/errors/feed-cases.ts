/** How a caller gets each of the errors of a feed: its opening, writing, reading, proofs, arguments. */
import { appendFile } from 'node:fs/promises'
import path from 'node:path'
import type { Test } from 'tape'
import ddatabase, {
  type CryptoHooks,
  type DDatabaseError,
  type Feed,
  type FeedOptions,
  MAX_BLOCK_SIZE,
  originPrivateStorage,
  type StorageWorker
} from '../../src/index.ts'
import { copyBlocks, feedOf, memory, replicaOf } from '../feed/feeds.ts'
import { FaultPlan, faultyStorage } from '../helpers/faulty-storage.ts'
import { temporaryFolder } from '../helpers/folders.ts'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { rejection, within } from '../helpers/watchdog.ts'

/** Does what gives the error, and answers it. */
export type Case = (t: Test) => Promise<unknown>

const BLOCKS = [...'abcdefgh'].map((letter) => letter.repeat(10))

/** The error of the call that `act` makes on a feed with eight blocks. */
function onFeed(act: (feed: Feed) => unknown, options: FeedOptions = {}): Case {
  return async (t) => {
    const feed = await feedOf(BLOCKS, options)
    t.teardown(() => feed.close().catch(() => {}))
    return rejection(
      within(
        call(() => act(feed)),
        'the call'
      ),
      'the call'
    )
  }
}

/** The error of the call that `act` makes on a replica that has block 0 of those eight. */
function onReplica(act: (replica: Feed, source: Feed) => unknown): Case {
  return async (t) => {
    const source = await feedOf(BLOCKS)
    const replica = await replicaOf(source)
    t.teardown(() => Promise.all([source.close(), replica.close()]))
    await copyBlocks(source, replica, 0)
    return rejection(
      within(
        call(() => act(replica, source)),
        'the call'
      ),
      'the call'
    )
  }
}

/** The error with which a stored feed of eight blocks opens after `change`. */
function opening(change: (files: MemoryFiles) => unknown, options: FeedOptions = {}): Case {
  return async (t) => {
    const files = new MemoryFiles()
    await (await feedOf(BLOCKS, {}, files)).close()
    change(files)
    const feed = ddatabase(memory(files), options)
    t.teardown(() => feed.close().catch(() => {}))
    return rejection(within(feed.ready(), 'ready'), 'ready')
  }
}

/** The error of a function that throws or rejects. */
async function call(run: () => unknown): Promise<unknown> {
  return run()
}

function cut(files: MemoryFiles, name: string, size: number): void {
  files.put(name, files.read(name)!.subarray(0, size))
}

/** Any other feed's secret key. */
async function otherSecretKey(): Promise<Uint8Array> {
  const other = await feedOf([])
  await other.close()
  return other.secretKey!
}

/** A verifier that fails. */
const unable: CryptoHooks['verify'] = (_data, _signature, _key, callback) => callback(new Error('no'))

/** A case for each code, in the order of `src/errors.ts`. */
export const FEED_CASES = {
  ERR_FEED_CLOSED: onFeed(async (feed) => {
    await feed.close()
    return feed.append('x')
  }),
  ERR_RESOURCE_CLOSED: onFeed(async (feed) => {
    await feed.close()
    return feed.ready()
  }),
  ERR_FEED_NOT_OPEN: async () => {
    const feed = ddatabase(memory())
    const error = await rejection(
      call(() => feed.has(0)),
      'has'
    )
    await feed.close()
    return error
  },

  ELOCKED: async (t: Test) => {
    const folder = await temporaryFolder(t)
    const first = ddatabase(folder)
    await first.append('x')
    const error = await rejection(ddatabase(folder).ready(), 'the second feed')
    await first.close()
    return error
  },
  ERR_OTHER_FEED: opening(() => {}, { key: Buffer.alloc(32, 1) }),
  ERR_NO_FEED: async () => rejection(ddatabase(memory(), { createIfMissing: false }).ready(), 'ready'),
  ERR_NOT_WRITABLE_OPTION: async () =>
    rejection(ddatabase(memory(), Buffer.alloc(32, 1), { writable: true }).ready(), 'ready'),
  ERR_KEY_MISSING: opening((files) => files.put('key', null)),
  ERR_KEY_DAMAGED: opening((files) => cut(files, 'key', 31)),
  ERR_SECRET_KEY_DAMAGED: opening((files) => cut(files, 'secret_key', 63)),
  ERR_SECRET_KEY_MISMATCH: async (t: Test) => {
    const secretKey = await otherSecretKey()
    return opening((files) => files.put('secret_key', secretKey))(t)
  },
  ERR_HEADER_INVALID: opening((files) => files.writeAt('tree', 0, Buffer.from('something else'))),
  ERR_FEED_DAMAGED: opening((files) => cut(files, 'tree', 32)),
  ERR_DURABILITY: async () => rejection(ddatabase(memory(), { durability: 'disk' }).ready(), 'ready'),
  ERR_BEHIND: async (t: Test) => {
    const folder = path.join(await temporaryFolder(t), 'feed')
    const first = ddatabase(folder)
    await first.append('x')
    await first.close()
    // A signature without its tree, as a power failure leaves it.
    await appendFile(path.join(folder, 'signatures'), Buffer.alloc(64, 7))
    const feed = ddatabase(folder)
    const error = await rejection(feed.append('y'), 'append')
    await feed.close()
    return error
  },
  ERR_STORAGE: async () => {
    const plan = new FaultPlan()
    const feed = ddatabase(faultyStorage(new MemoryFiles(), plan) as never)
    await feed.ready()
    plan.arm('before', 1, (_file, operation) => operation === 'write')
    const error = await rejection(within(feed.append('x'), 'append'), 'append')
    await feed.close()
    return error
  },
  ERR_STORAGE_WORKER: async () => {
    const listeners: Record<string, (event: never) => void> = {}
    const worker = {
      addEventListener: (type: string, listener: (event: never) => void) => {
        listeners[type] = listener
      },
      postMessage: () =>
        setImmediate(() => listeners.error!({ message: 'it broke', preventDefault() {} } as never)),
      terminate() {}
    }
    const feed = ddatabase(originPrivateStorage('feed', { worker: worker as unknown as StorageWorker }))
    return rejection(within(feed.ready(), 'ready'), 'ready')
  },
  ERR_UNSUPPORTED_RUNTIME: async () => rejection(ddatabase(originPrivateStorage('feed')).ready(), 'ready'),

  ERR_NOT_WRITABLE: onReplica((replica) => replica.append('x')),
  ERR_BLOCK_TOO_LARGE: onFeed((feed) => feed.append(Buffer.alloc(MAX_BLOCK_SIZE + 1))),
  ERR_ENCODING: onFeed((feed) => feed.append(undefined as never), { valueEncoding: 'json' } as FeedOptions),
  ERR_DECODING: onFeed((feed) => feed.get(0, { valueEncoding: 'json' })),
  ERR_SIGNING: async (t: Test) => {
    let broken = false
    const sign: CryptoHooks['sign'] = (_data, _secretKey, callback) =>
      broken ? callback(new Error('no')) : callback(null, Buffer.alloc(64, 1))
    const append = (feed: Feed) => {
      broken = true
      return feed.append('x')
    }
    return onFeed(append, { crypto: { sign, verify: unable } })(t)
  },
  ERR_VERIFYING: onFeed(async (feed) => feed.verify(7, (await feed.signature(7)).signature), {
    crypto: { sign: (_data, _secretKey, callback) => callback(null, Buffer.alloc(64, 1)), verify: unable }
  }),
  ERR_WRITE_REFUSED: async () => {
    const plan = new FaultPlan()
    const feed = ddatabase(faultyStorage(new MemoryFiles(), plan) as never)
    await feed.append('a')
    plan.arm('dead-torn', 1, (file) => file === 'bitfield' || file === 'signatures')
    await rejection(within(feed.append('b'), 'append'), 'the append that fails')
    const error = await rejection(within(feed.append('c'), 'append'), 'the append after it')
    plan.disarm()
    await feed.close().catch(() => {})
    return error
  },

  ERR_BLOCK_NOT_DOWNLOADED: onReplica((replica) => replica.get(3, { wait: false })),
  ERR_BLOCK_DAMAGED: async () => {
    const files = new MemoryFiles()
    await (await feedOf(BLOCKS, {}, files)).close()
    files.writeAt('data', 15, Buffer.from('x'))
    const feed = ddatabase(memory(files))
    const error = await rejection(within(feed.get(1), 'get'), 'get')
    await feed.close()
    return error
  },
  ERR_BLOCK_NOT_AVAILABLE: onReplica((replica) => replica.get(3, { ifAvailable: true })),
  ERR_UPDATE_NOT_AVAILABLE: onReplica((replica) => replica.update({ ifAvailable: true })),
  ERR_SEEK_NOT_AVAILABLE: onReplica((replica) => replica.seek(45, { ifAvailable: true })),
  ERR_UNEXPECTED_LENGTH: onReplica((replica) => {
    // The hint lasts as long as somebody looks for peers.
    replica.ifAvailable.wait()
    replica.setExpectedLength(replica.length)
    return replica.update({ ifAvailable: true }).finally(() => replica.ifAvailable.continue())
  }),
  ERR_FEED_EMPTY: async () => {
    const feed = await feedOf([])
    const error = await rejection(feed.head(), 'head')
    await feed.close()
    return error
  },
  ERR_SEEK_NOT_FOUND: onReplica((replica) => replica.seek(45, { wait: false })),
  ERR_SEEK_OUT_OF_BOUNDS: onFeed((feed) => feed.seek(81, { wait: false })),
  ERR_REQUEST_CANCELLED: onReplica((replica) => {
    const waiting = replica.get(3)
    replica.cancel(3)
    return waiting
  }),
  ECANCELED: onReplica((replica) => {
    const selection = replica.download({ start: 2, end: 5 })
    replica.undownload(selection)
    return selection
  }),
  ETIMEDOUT: onReplica((replica) => replica.get(3, { timeout: 1 })),

  ERR_NO_SIGNATURE: onFeed((feed) => feed.signature(8)),
  ERR_SIGNATURE_NOT_FOUND: async () => {
    const feed = await feedOf(BLOCKS, { live: false })
    await feed.finalize()
    const error = await rejection(feed.signature(0), 'signature')
    await feed.close()
    return error
  },
  ERR_SIGNATURE_INVALID: onFeed(async (feed) => feed.verify(3, (await feed.signature(7)).signature)),
  ERR_ROOTS_MISSING: onReplica((replica) => replica.rootHashes(2)),
  ERR_NO_PROOF: onReplica((replica) => replica.proof(5)),
  ERR_NODE_NOT_FOUND: onFeed((feed) => feed.truncate(9)),
  ERR_DATA_SIZE: onFeed((feed) => {
    const { putData } = feed._storage
    return new Promise((resolve, reject) => {
      putData.call(feed._storage, 0, Buffer.from('too short'), [], (error: Error | null) =>
        error ? reject(error) : resolve(null)
      )
    })
  }),
  ERR_PROOF_NO_SIGNATURE: onReplica(async (replica, source) => {
    await source.append(['i', 'j'])
    const { nodes } = await source.proof(9, { digest: replica.digest(9) })
    return replica.put(9, 'j', { nodes, signature: null })
  }),
  ERR_PROOF_SIGNATURE: onFeed(async (source) => {
    const replica = await replicaOf(source)
    return replica.put(2, 'a lie', await source.proof(2)).finally(() => replica.close())
  }),
  ERR_PROOF_CHECKSUM: onReplica(async (replica, source) =>
    replica.put(1, 'a lie', await source.proof(1, { digest: replica.digest(1) }))
  ),
  ERR_PROOF_MALFORMED: onFeed(async (source) => {
    const replica = await replicaOf(source)
    const { nodes } = await source.proof(2)
    return replica.put(2, BLOCKS[2]!, { nodes, signature: Buffer.alloc(63) }).finally(() => replica.close())
  }),

  ERR_INVALID_ARG_TYPE: async () =>
    rejection(
      call(() => ddatabase(5 as never)),
      'the constructor'
    ),
  ERR_INVALID_ARG_VALUE: async () =>
    rejection(
      call(() => ddatabase(memory(), Buffer.alloc(31))),
      'the constructor'
    ),
  ERR_OUT_OF_RANGE: onFeed((feed) => feed.get(-1))
} satisfies Partial<Record<DDatabaseError['code'] | `ERR_${string}`, Case>>
