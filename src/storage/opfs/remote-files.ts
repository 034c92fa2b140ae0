import { DDatabaseError } from '../../errors.ts'
import { type Deferred, deferred } from '../../util/callback.ts'
import type { FilePath } from './access-file.ts'
import type { Files, OpenFile } from './files.ts'
import {
  type AnswerMessage,
  type Call,
  type CallMessage,
  decodeError,
  isMessage,
  VERSION
} from './messages.ts'
import type { StorageWorker } from './web.ts'

/** Bytes on their way to the worker or asked of it. Further calls wait; their data is copied when they leave. */
const WINDOW = 16 * 1024 * 1024
/** What a call counts at least. */
const CALL_COST = 1024
/** A worker that has had no open file for so long, in milliseconds, is ended. */
const IDLE = 1000

/** A worker, or what it is started from. */
export type WorkerSource = StorageWorker | URL | string | undefined

/** The running worker of each source: the feeds of a page share one. */
const byUrl = new Map<string, RemoteFiles>()
const byWorker = new WeakMap<StorageWorker, RemoteFiles>()

declare const Worker: new (url: URL | string, options: { type: 'module'; name: string }) => StorageWorker

/**
 * The files behind a worker.
 * @param source - the worker's script, or a worker that is running; by default `opfs-worker.js` beside this script
 */
export function remoteFiles(source: WorkerSource): Files {
  if (typeof source === 'object' && !(source instanceof URL)) {
    const known = byWorker.get(source)
    if (known !== undefined) return known
    const files = new RemoteFiles(() => source, false)
    byWorker.set(source, files)
    return files
  }
  const key = source === undefined ? '' : String(source)
  let files = byUrl.get(key)
  if (files === undefined) {
    files = new RemoteFiles(() => startWorker(source), true)
    byUrl.set(key, files)
  }
  return files
}

function startWorker(url: URL | string | undefined): StorageWorker {
  if (url !== undefined) return new Worker(url, { type: 'module', name: 'ddatabase storage' })
  // Bundlers look for this very expression, with nothing in it that has to be computed.
  return new Worker(new URL('./opfs-worker.js', import.meta.url), {
    type: 'module',
    name: 'ddatabase storage'
  })
}

interface Waiting {
  call: Call
  /** The bytes of a write. */
  data: Uint8Array | null
  cost: number
  answer: Deferred<unknown>
}

/** Files that one worker has open. The worker is started when the first call comes, and ended when it is idle. */
class RemoteFiles implements Files {
  private readonly start: () => StorageWorker
  private readonly owned: boolean
  private session: Session | null = null

  /** @param owned - whether the worker is ours to end */
  constructor(start: () => StorageWorker, owned: boolean) {
    this.start = start
    this.owned = owned
  }

  async open(path: FilePath, create: boolean): Promise<OpenFile> {
    const session = this.connect()
    const number = (await session.call({ op: 'open', path, create })) as number
    session.openFiles++
    return new RemoteFile(session, number)
  }

  async remove(path: FilePath): Promise<void> {
    await this.connect().call({ op: 'remove', path })
  }

  private connect(): Session {
    if (this.session === null || this.session.ended) {
      try {
        this.session = new Session(this.start(), this.owned)
      } catch (error) {
        throw workerError(error)
      }
    }
    return this.session
  }
}

/** Of all sessions: a worker that was passed may have more than one, and answer calls of the last one late. */
let lastId = 0

/** The life of one worker. */
class Session {
  ended = false
  openFiles = 0
  private readonly worker: StorageWorker
  private readonly owned: boolean
  private readonly sent = new Map<number, Waiting>()
  private queue: Waiting[] = []
  private inFlight = 0
  private scheduled = false
  private idleTimer: ReturnType<typeof setTimeout> | undefined
  private failure: Error | null = null

  constructor(worker: StorageWorker, owned: boolean) {
    this.worker = worker
    this.owned = owned
    worker.addEventListener('message', ({ data }: { data: unknown }) => {
      if (isMessage<AnswerMessage>(data, 'answers')) this.receive(data)
    })
    const failed = (event: { message?: string; preventDefault(): void }): void => {
      // The calls report it; without this it would be an uncaught error of the page as well.
      event.preventDefault()
      this.fail(workerError(new Error(event.message ?? 'the script of the worker could not be loaded')))
    }
    worker.addEventListener('error', failed)
    worker.addEventListener('messageerror', failed)
  }

  call(call: Call, data: Uint8Array | null = null): Promise<unknown> {
    const answer = deferred<unknown>()
    if (this.failure !== null) answer.reject(this.failure)
    else {
      const size = call.op === 'read' ? call.size : data?.byteLength
      // Not a number at all: the worker refuses it.
      this.queue.push({ call, data, cost: Math.max(size || 0, CALL_COST), answer })
      clearTimeout(this.idleTimer)
      this.schedule()
    }
    return answer.promise
  }

  /** Sends after what runs now, so that the calls of one operation make one message. */
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(() => {
      this.scheduled = false
      this.send()
    })
  }

  private send(): void {
    let count = 0
    let size = 0
    for (const { cost, data } of this.queue) {
      // One call goes always, also if it is larger than the window.
      if (this.inFlight > 0 && this.inFlight + cost > WINDOW) break
      this.inFlight += cost
      size += data?.byteLength ?? 0
      count++
    }
    if (count === 0) return
    const batch = this.queue.splice(0, count)
    try {
      this.post(batch, size === 0 ? null : new Uint8Array(size))
    } catch (error) {
      // There is no memory for the copy.
      for (const { cost, answer } of batch) {
        this.inFlight -= cost
        answer.reject(error as Error)
      }
      // If nothing is under way, no answer will send the others.
      if (this.queue.length > 0) this.schedule()
    }
  }

  private post(batch: Waiting[], bytes: Uint8Array<ArrayBuffer> | null): void {
    const calls: CallMessage['calls'] = []
    let at = 0
    for (const { call, data } of batch) {
      if (call.op === 'write') {
        call.start = at
        if (bytes !== null) bytes.set(data!, at)
        at += call.size
      }
      calls.push({ id: lastId + calls.length + 1, call })
    }
    const message: CallMessage = { ddatabase: 'calls', version: VERSION, calls, bytes: bytes?.buffer ?? null }
    this.worker.postMessage(message, bytes === null ? [] : [bytes.buffer])
    for (const waiting of batch) {
      waiting.data = null
      this.sent.set(++lastId, waiting)
    }
  }

  private receive({ answers }: AnswerMessage): void {
    for (const answer of answers) {
      const waiting = this.sent.get(answer.id)
      if (waiting === undefined) continue
      this.sent.delete(answer.id)
      this.inFlight -= waiting.cost
      if ('error' in answer) waiting.answer.reject(decodeError(answer.error))
      else waiting.answer.resolve(answer.value)
    }
    if (this.queue.length > 0) this.schedule()
    this.restIfIdle()
  }

  /** Ends the worker after a while without open files: opening a feed asks for several that are not there yet. */
  restIfIdle(): void {
    if (!this.owned || this.openFiles > 0 || this.sent.size > 0 || this.queue.length > 0) return
    clearTimeout(this.idleTimer)
    this.idleTimer = setTimeout(() => {
      if (this.openFiles > 0 || this.sent.size > 0 || this.queue.length > 0) return
      this.end(new Error('the worker was ended'))
    }, IDLE)
  }

  private fail(error: Error): void {
    this.end(error)
    const calls = [...this.sent.values(), ...this.queue]
    this.sent.clear()
    this.queue = []
    for (const { answer } of calls) answer.reject(error)
  }

  private end(reason: Error): void {
    this.ended = true
    this.failure = reason
    clearTimeout(this.idleTimer)
    if (this.owned) this.worker.terminate()
  }
}

class RemoteFile implements OpenFile {
  private readonly session: Session
  private readonly file: number

  constructor(session: Session, file: number) {
    this.session = session
    this.file = file
  }

  async read(offset: number, size: number): Promise<Uint8Array> {
    const call: Call = { op: 'read', file: this.file, offset: Number(offset), size: Number(size) }
    return (await this.session.call(call)) as Uint8Array
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    const { byteLength: size } = data
    await this.session.call({ op: 'write', file: this.file, offset: Number(offset), start: 0, size }, data)
  }

  async del(offset: number, size: number): Promise<void> {
    await this.session.call({ op: 'del', file: this.file, offset: Number(offset), size: Number(size) })
  }

  async truncate(size: number): Promise<void> {
    await this.session.call({ op: 'truncate', file: this.file, size: Number(size) })
  }

  async size(): Promise<number> {
    return (await this.session.call({ op: 'size', file: this.file })) as number
  }

  async flush(): Promise<void> {
    await this.session.call({ op: 'flush', file: this.file })
  }

  async close(): Promise<void> {
    try {
      await this.session.call({ op: 'close', file: this.file })
    } finally {
      this.session.openFiles--
      this.session.restIfIdle()
    }
  }
}

function workerError(cause: unknown): DDatabaseError {
  return new DDatabaseError('ERR_STORAGE_WORKER', {
    message:
      `The worker of the storage failed: ${cause instanceof Error ? cause.message : String(cause)}. ` +
      "Bundle 'ddatabase/opfs-worker' as a script of its own and pass its address as the option `worker` of originPrivateStorage",
    cause
  })
}
