/** The storage of browsers, as far as it can be tested without one; the rest is in test/browser. */
import test from 'tape'
import ddatabase, { originPrivateStorage, type StorageWorker } from '../../src/index.ts'
import { type CallMessage, VERSION } from '../../src/storage/opfs/messages.ts'
import { StorageFile } from '../../src/storage/random-access.ts'
import { rejection, settle, within } from '../helpers/watchdog.ts'

type Listener = (event: unknown) => void

/** A worker that answers as it is told, and keeps what it was sent. */
class FakeWorker implements StorageWorker {
  readonly received: CallMessage[] = []
  ended = false
  readonly #listeners: Record<string, Listener> = {}
  readonly #answer: (call: CallMessage['calls'][number]) => object | null

  constructor(answer: (call: CallMessage['calls'][number]) => object | null) {
    this.#answer = answer
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners[type] = listener
  }

  postMessage(message: unknown, transfer: ArrayBuffer[]): void {
    // As a worker gets it: the buffers are gone from here.
    const copy = structuredClone(message, { transfer }) as CallMessage
    this.received.push(copy)
    const answers = copy.calls.map(this.#answer).filter((answer) => answer !== null)
    if (answers.length > 0) setImmediate(() => this.tell({ ddatabase: 'answers', answers }))
  }

  tell(data: unknown): void {
    this.#listeners.message!({ data })
  }

  fail(message: string): void {
    this.#listeners.error!({ message, preventDefault() {} })
  }

  terminate(): void {
    this.ended = true
  }

  calls(): CallMessage['calls'] {
    return this.received.flatMap(({ calls }) => calls)
  }
}

function fileOf(worker: FakeWorker, name = 'data'): StorageFile {
  return new StorageFile(originPrivateStorage('feed', { worker })(name, {}))
}

const good = ({ id }: { id: number }) => ({ id, value: 1 })

test('opfs: where there is none, opening says so and what to use instead', async (t) => {
  const feed = ddatabase(originPrivateStorage('feed'))
  const error = (await rejection(feed.ready(), 'ready')) as Error & { code: string }
  t.equal(error.code, 'ERR_UNSUPPORTED_RUNTIME')
  t.match(error.message, /navigator\.storage\.getDirectory.*random-access-memory/)
  await feed.close()
})

test('opfs: arguments are checked at once', (t) => {
  t.throws(() => originPrivateStorage('a\0b'), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' })
  t.throws(() => originPrivateStorage(5 as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })
  for (const worker of [5, null, {}, () => {}]) {
    t.throws(() => originPrivateStorage('a', { worker } as never), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  const storage = originPrivateStorage('a')
  for (const name of ['', '.', '..', '/', 'b/..']) {
    t.throws(() => storage(name, {}), { code: 'ERR_INVALID_ARG_VALUE' }, JSON.stringify(name))
  }
  t.end()
})

test('opfs: calls of one moment are one message, with the bytes of all writes', async (t) => {
  const worker = new FakeWorker(good)
  const file = fileOf(worker)
  await file.write(0, Buffer.from('a'))
  const [opening, first] = worker.received
  t.deepEqual(opening!.calls[0]!.call, { op: 'open', path: ['feed', 'data'], create: true })
  t.equal(opening!.version, VERSION)
  t.deepEqual(Buffer.from(first!.bytes!), Buffer.from('a'))

  const whole = Buffer.alloc(100_000, 'xyz')
  const pieces = [whole.subarray(10, 12), whole.subarray(0, 0), whole.subarray(500, 503)]
  await Promise.all(pieces.map((piece, i) => file.write(i * 10, piece)))
  t.equal(worker.received.length, 3, 'one message')
  const { calls, bytes } = worker.received[2]!
  t.deepEqual(
    calls.map(({ call }) => call),
    [
      { op: 'write', file: 1, offset: 0, start: 0, size: 2 },
      { op: 'write', file: 1, offset: 10, start: 2, size: 0 },
      { op: 'write', file: 1, offset: 20, start: 2, size: 3 }
    ]
  )
  t.equal(bytes!.byteLength, 5, 'the bytes that are written and no others')
  t.equal(whole.byteLength, 100_000, 'the buffer stays with its owner')
  await file.close()
})

test('opfs: what is under way to the worker is bounded', async (t) => {
  const held: number[] = []
  const worker = new FakeWorker((call) => {
    if (call.call.op !== 'write') return good(call)
    held.push(call.id)
    return null
  })
  const file = fileOf(worker)
  const block = Buffer.alloc(1024 * 1024)
  const writes = Array.from({ length: 40 }, (_, i) => file.write(i * block.byteLength, block))
  await settle()
  t.equal(held.length, 16, '16 MiB leave at once')
  let answered = 0
  while (answered < 40) {
    const ids = held.slice(answered)
    answered = held.length
    worker.tell({ ddatabase: 'answers', answers: ids.map((id) => ({ id, value: undefined })) })
    await settle()
    t.ok(held.length - answered <= 16, `${held.length} have left`)
  }
  await within(Promise.all(writes), 'writes')
  const large = file.write(0, Buffer.alloc(20 * 1024 * 1024))
  await settle()
  t.equal(held.length, 41, 'one that is larger than that leaves alone')
  worker.tell({ ddatabase: 'answers', answers: [{ id: held.at(-1), value: undefined }] })
  await within(large, 'large')
  await file.close()
})

test('opfs: when the worker fails, so does all that waits for it', async (t) => {
  const worker = new FakeWorker((call) => (call.call.op === 'open' ? good(call) : null))
  const file = fileOf(worker)
  const [other, write] = [fileOf(worker, 'tree'), file.write(0, Buffer.from('abc'))]
  await settle()
  worker.fail('it broke')
  const error = await rejection(within(write, 'write'), 'write')
  t.equal(error.code, 'ERR_STORAGE_WORKER')
  t.match(error.message, /it broke.*ddatabase\/opfs-worker/)
  t.equal((await rejection(file.read(0, 1), 'read')).code, 'ERR_STORAGE_WORKER', 'and what is asked later')
  t.notOk(worker.ended, 'a worker that was passed is not ended')
  await other.close()
})

test('opfs: a message that cannot be sent holds up no other', async (t) => {
  const worker = new FakeWorker(good)
  const file = fileOf(worker)
  await file.write(0, Buffer.from('a'))
  const { postMessage } = worker
  worker.postMessage = () => {
    worker.postMessage = postMessage
    throw new RangeError('no memory')
  }
  // Larger than what may be under way, so that the second one waits.
  const large = rejection(file.write(0, Buffer.alloc(20 * 1024 * 1024)), 'the large one')
  const small = file.write(0, Buffer.from('b'))
  t.equal((await within(large, 'the large one')).message, 'no memory')
  await within(small, 'the small one')
  await file.close()
})

test('opfs: what a worker that has failed answers late is for nobody', async (t) => {
  const worker = new FakeWorker((call) => (call.call.op === 'open' ? good(call) : null))
  const write = rejection(fileOf(worker).write(0, Buffer.from('abc')), 'write')
  await settle()
  const late = worker.calls().at(-1)!
  t.equal(late.call.op, 'write')
  worker.fail('it broke')
  t.equal((await within(write, 'write')).code, 'ERR_STORAGE_WORKER')
  const read = fileOf(worker, 'tree').read(0, 1)
  await settle()
  const asked = worker.calls().at(-1)!
  t.equal(asked.call.op, 'read')
  worker.tell({ ddatabase: 'answers', answers: [{ id: late.id, value: undefined }] })
  worker.tell({ ddatabase: 'answers', answers: [{ id: asked.id, value: new Uint8Array([7]) }] })
  t.deepEqual(await within(read, 'read'), new Uint8Array([7]))
})

test('opfs: messages that are none of ours are left alone', async (t) => {
  const worker = new FakeWorker(good)
  const file = fileOf(worker)
  await file.write(0, Buffer.from('a'))
  for (const data of [null, 5, 'text', {}, { ddatabase: 'calls' }]) worker.tell(data)
  worker.tell({ ddatabase: 'answers', answers: [{ id: 999, value: 1 }] })
  await file.write(0, Buffer.from('b'))
  t.equal(worker.calls().length, 3)
  await file.close()
})
