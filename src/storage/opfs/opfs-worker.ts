/**
 * The script of the worker that `originPrivateStorage` talks to, as `ddatabase/opfs-worker`. Loading it makes the
 * worker listen. There is one for each page; the open files of all its feeds live here.
 */
import { DDatabaseError } from '../../errors.ts'
import { AccessFile, removeFile } from './access-file.ts'
import {
  type Answer,
  type AnswerMessage,
  type Call,
  type CallMessage,
  encodeError,
  isMessage,
  VERSION
} from './messages.ts'

interface WorkerScope {
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  postMessage(message: AnswerMessage, transfer: ArrayBufferLike[]): void
}

const scope = globalThis as unknown as WorkerScope
const files = new Map<number, AccessFile>()
let lastFile = 0

scope.addEventListener('message', ({ data }) => {
  if (isMessage<CallMessage>(data, 'calls')) serve(data)
})

/** What can be done at once is answered together; openings and removals answer when they are through. */
function serve({ version, calls, bytes }: CallMessage): void {
  const answers: Answer[] = []
  for (const { id, call } of calls) {
    if (version !== VERSION) {
      const error = new DDatabaseError('ERR_STORAGE_WORKER', {
        message: 'The worker of the storage is of another version of ddatabase than the page'
      })
      answers.push({ id, error: encodeError(error) })
    } else if (call.op === 'open' || call.op === 'remove') {
      const done = call.op === 'open' ? open(call) : removeFile(call.path)
      done.then(
        (value) => send([{ id, value }]),
        (error) => send([{ id, error: encodeError(error) }])
      )
    } else {
      try {
        answers.push({ id, value: run(call, bytes) })
      } catch (error) {
        answers.push({ id, error: encodeError(error) })
      }
    }
  }
  if (answers.length > 0) send(answers)
}

async function open(call: Call & { op: 'open' }): Promise<number> {
  const file = await AccessFile.open(call.path, call.create)
  const number = ++lastFile
  files.set(number, file)
  return number
}

function run(call: Exclude<Call, { op: 'open' | 'remove' }>, bytes: ArrayBuffer | null): unknown {
  const file = files.get(call.file)
  if (file === undefined) throw new Error('The file is closed')
  switch (call.op) {
    case 'read':
      return file.read(call.offset, call.size)
    case 'write':
      return file.write(call.offset, new Uint8Array(bytes!, call.start, call.size))
    case 'del':
      return file.del(call.offset, call.size)
    case 'truncate':
      return file.truncate(call.size)
    case 'size':
      return file.size()
    case 'flush':
      return file.flush()
    case 'close':
      files.delete(call.file)
      return file.close()
  }
}

function send(answers: Answer[]): void {
  const transfer: ArrayBufferLike[] = []
  for (const answer of answers) {
    if ('value' in answer && answer.value instanceof Uint8Array) transfer.push(answer.value.buffer)
  }
  scope.postMessage({ ddatabase: 'answers', answers }, transfer)
}
