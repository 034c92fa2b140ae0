/** The methods of a feed: promises, callbacks, options, events. */
import ddatabase, {
  type AuditReport,
  type Callback,
  type Codec,
  type DownloadProgress,
  type Extension,
  type ExtensionHandlers,
  type Feed,
  type FullAuditReport,
  type GetOptions,
  type Key,
  type Peer,
  type Proof,
  type ProtocolStream,
  type SeekPosition,
  type Selection,
  type StoredSignature,
  type TreeNode
} from '../../src/index.ts'
import { exact } from './exact.ts'

declare const numbers: Codec<number>
declare const signal: AbortSignal
declare const name: string
declare const proof: Proof

const texts = ddatabase('./dir', { valueEncoding: 'utf-8' })
const bytes = ddatabase('./dir')
const things = ddatabase('./dir', { valueEncoding: 'json' })
const done: Callback = (error) => exact<Error | null>()(error)

// values, and encodings of a call's own
exact<Promise<string>>()(texts.get(0))
exact<Promise<string>>()(texts.get(0, null))
exact<Promise<string>>()(texts.get(0, { wait: false, timeout: 5, signal }))
exact<Promise<Uint8Array>>()(texts.get(0, { valueEncoding: 'binary' }))
exact<Promise<string>>()(bytes.get(0, { valueEncoding: 'utf-8', wait: false }))
exact<Promise<unknown>>()(bytes.get(0, { valueEncoding: 'json' }))
exact<Promise<number>>()(bytes.get(0, { valueEncoding: numbers }))
exact<Promise<unknown>>()(bytes.get(0, { valueEncoding: name }))
exact<Promise<string>>()(texts.get(0, { valueEncoding: undefined }))
exact<Promise<string>>()(texts.get(0, {} as GetOptions))
exact<Promise<string[]>>()(texts.getBatch(0, 5))
exact<Promise<number[]>>()(texts.getBatch(0, 5, { valueEncoding: numbers, signal }))
exact<Promise<string>>()(texts.head())
exact<Promise<Uint8Array>>()(texts.head({ update: true, valueEncoding: 'binary', signal }))

// the other promises
exact<Promise<void>>()(texts.ready())
exact<Promise<void>>()(texts.close())
exact<Promise<number>>()(texts.append('a'))
exact<Promise<number>>()(texts.append(['a', 'b']))
exact<Promise<number>>()(bytes.append('text'))
exact<Promise<number>>()(bytes.append([new Uint8Array(1), 'text']))
exact<Promise<number>>()(things.append({ any: 'thing' }))
exact<Promise<number>>()(texts.flush())
exact<Promise<void>>()(texts.update())
exact<Promise<void>>()(texts.update(5))
exact<Promise<void>>()(texts.update({ minLength: 5, ifAvailable: true, signal }))
exact<Promise<SeekPosition>>()(texts.seek(100, { start: 1, end: -1, signal }))
exact<Promise<void>>()(texts.clear(0))
exact<Promise<void>>()(texts.clear(0, 5, { delete: false }))
exact<Promise<void>>()(texts.truncate(0))
exact<Promise<void>>()(texts.finalize())
exact<Promise<StoredSignature>>()(texts.signature())
exact<Promise<true>>()(texts.verify(0, new Uint8Array(64)))
exact<Promise<TreeNode[]>>()(texts.rootHashes(0))
exact<Promise<Proof>>()(texts.proof(0, { digest: 1 }))
exact<Promise<void>>()(texts.put(0, 'a', proof))
exact<Promise<AuditReport>>()(texts.audit())
exact<Promise<FullAuditReport>>()(texts.audit({ signal }))
exact<Promise<FullAuditReport>>()(
  texts.audit({ repair: true, onprogress: ({ blocks }) => exact<number>()(blocks) })
)
exact<Promise<void>>()(texts.destroyStorage())
exact<boolean>()(texts.has(0))
exact<number>()(texts.downloaded(0, 5))

// callbacks: what they get, and what the call returns
exact<symbol>()(
  texts.get(0, (error, value) => {
    exact<Error | null>()(error)
    exact<string | undefined>()(value)
  })
)
exact<unknown>()(texts.get(0, { wait: false }, (_error, value) => exact<string | undefined>()(value)))
texts.get(0, { valueEncoding: 'binary' }, (_error, value) => exact<Uint8Array | undefined>()(value))
exact<void>()(texts.getBatch(0, 5, (_error, values) => exact<string[] | undefined>()(values)))
exact<void>()(texts.head((_error, value) => exact<string | undefined>()(value)))
exact<void>()(texts.append('a', (_error, index) => exact<number | undefined>()(index)))
exact<void>()(texts.flush((_error, index) => exact<number | undefined>()(index)))
exact<void>()(texts.ready(done))
exact<void>()(texts.close(done))
exact<void>()(texts.update(done))
exact<void>()(texts.update({ minLength: 5 }, done))
exact<void>()(texts.clear(0, 5, done))
exact<void>()(texts.audit((_error, report) => exact<AuditReport | undefined>()(report)))
exact<void>()(texts.verify(0, new Uint8Array(64), (_error, valid) => exact<true | undefined>()(valid)))
exact<void>()(texts.proof(0, (_error, found) => exact<Proof | undefined>()(found)))
exact<void>()(
  texts.seek(5, (error, index, offset) => {
    exact<Error | null>()(error)
    exact<number | undefined>()(index)
    exact<number | undefined>()(offset)
  })
)

// callbacks that a caller may not have given
declare const maybe: Callback | undefined
declare const maybeIndex: Callback<number> | null
declare const maybeText: Callback<string> | undefined
exact<void>()(texts.ready(maybe))
exact<void>()(texts.open(maybe))
exact<void>()(texts.close(maybe))
exact<void>()(texts.append('a', maybeIndex))
exact<void>()(texts.append('a', { force: true }, maybeIndex))
exact<void>()(texts.flush(maybeIndex))
exact<unknown>()(texts.get(0, maybeText))
exact<unknown>()(texts.get(0, { wait: false }, maybeText))
exact<void>()(texts.head(maybeText))
exact<void>()(texts.head({ update: true }, maybeText))
exact<void>()(texts.update(maybe))
exact<void>()(texts.update({ ifAvailable: true }, maybe))
exact<void>()(texts.seek(5, {} as { start?: number }, null))
exact<void>()(texts.clear(0, maybe))
exact<void>()(texts.clear(0, 5, maybe))
exact<void>()(texts.clear(0, 5, null, maybe))
exact<void>()(texts.truncate(0, maybe))
exact<void>()(texts.put(0, 'a', proof, maybe))
exact<void>()(texts.finalize(maybe))
exact<void>()(texts.destroyStorage(maybe))
exact<Selection>()(texts.download(maybe))
exact<Selection>()(texts.download({ start: 0 }, maybe))
exact<boolean>()(texts.has(0, 5, undefined))
exact<number>()(texts.downloaded(0, 5, undefined))

// downloads
const selection = texts.download({ start: 0, end: 5, linear: true, signal })
exact<Selection>()(selection)
exact<Selection>()(texts.download([1, 2, 3], done))
exact<Selection>()(texts.download(done))
exact<Promise<DownloadProgress>>()(selection.progress())
exact<void>()(selection.cancel())
exact<number | null>()((await selection.progress()).totalBytes)
await selection
await selection.then(null, (error) => error.code)
await selection.then(
  () => {},
  (error: Error) => error.message
)
texts.undownload({ ...selection })

// iteration and streams
for await (const value of texts) exact<string>()(value)
for await (const value of bytes) exact<Uint8Array>()(value)
for await (const value of texts.createReadStream({ live: true })) exact<string>()(value)
for await (const value of texts.createReadStream({ valueEncoding: 'binary' })) exact<Uint8Array>()(value)
texts.createReadStream().on('data', (value) => exact<string>()(value))
exact<string | null>()(texts.createReadStream().read())
exact<ReadableStream<string>>()(texts.toWeb())
exact<ReadableStream<Uint8Array>>()(texts.toWeb({ start: 5, valueEncoding: 'binary' }))
exact<WritableStream<string>>()(texts.toWebWritable())
await bytes.toWeb().pipeTo(bytes.toWebWritable({ maxBlockSize: 1024 }))
texts.createWriteStream().write('a')
texts.createWriteStream().end()
bytes.createWriteStream({ maxBlockSize: 1024 }).end('a')

// events
texts.on('append', () => {})
texts.on('download', (index, data, peer) => {
  exact<number>()(index)
  exact<Uint8Array>()(data)
  exact<Peer | null>()(peer)
})
texts.once('upload', (_index, _data, peer) => exact<Peer>()(peer))
texts.on('clear', (start, end) => exact<number>()(start + end))
texts.off('peer-add', (peer) => exact<Peer>()(peer))
texts.on('replicating', (stream) => exact<ProtocolStream>()(stream))
texts.on('error', (error) => exact<string | undefined>()(error.code))
exact<Feed<string>>()(texts.on('ready', () => {}).on('close', () => {}))

// messages of the application's own: their type follows from the encoding, from what `onmessage` takes, or is an argument
interface Greeting {
  from: string
}
exact<Extension<Uint8Array, Peer>>()(texts.registerExtension('bytes'))
texts.registerExtension('bytes', { onmessage: (message) => exact<Uint8Array>()(message) })
texts.registerExtension('bytes', { encoding: 'binary', onmessage: (message) => exact<Uint8Array>()(message) })
const said = texts.registerExtension('text', {
  encoding: 'utf-8',
  onmessage(message, peer) {
    exact<string>()(message)
    exact<Peer>()(peer)
  }
})
said.broadcast('text')
exact<Extension<unknown, Peer>>()(
  texts.registerExtension('json', { encoding: 'json', onmessage: (message) => exact<unknown>()(message) })
)
texts.registerExtension('json', { encoding: 'json' }).broadcast({ any: 'thing' })
exact<Extension<number, Peer>>()(
  texts.registerExtension('codec', { encoding: numbers, onmessage: (message) => exact<number>()(message) })
)
exact<Extension<unknown, Peer>>()(texts.registerExtension('name', { encoding: name }))
exact<Extension<Greeting, Peer>>()(
  texts.registerExtension('json', { encoding: 'json', onmessage(_message: Greeting) {} })
)
exact<Extension<Greeting, Peer>>()(texts.registerExtension<Greeting>('json', { encoding: 'json' }))
exact<Extension<string, Peer>>()(texts.registerExtension<string>('text', { encoding: 'utf-8' }))
exact<Extension<Greeting, Peer>>()(
  texts.registerExtension<Greeting>('function', (extension) => ({
    encoding: 'json',
    onmessage: (message, peer) => extension.send(message, peer)
  }))
)
declare const greeting: ExtensionHandlers<Greeting, Peer>
exact<Extension<Greeting, Peer>>()(texts.registerExtension('json', greeting))
// @ts-expect-error an extension of strings
said.broadcast(5)

// the rest
exact<ProtocolStream>()(texts.replicate(true, { live: true }))
const limited = texts.replicate(true, { maxUploadRate: 1_000_000, maxDownloadRate: null })
exact<number>()(limited.maxUploadRate + limited.maxDownloadRate)
limited.maxDownloadRate = 5
limited.on('data', (chunk) => exact<Uint8Array>()(chunk))
limited.on('error', (error) => exact<string | undefined>()(error.code))
for await (const chunk of limited) exact<Uint8Array>()(chunk)
exact<Uint8Array | null>()(limited.read())
exact<boolean>()(limited.write(new Uint8Array(1)))
exact<ProtocolStream>()(limited.end())
exact<number>()(texts.maxUploadRate + texts.maxDownloadRate)
texts.maxUploadRate = 5
exact<Uint8Array | null>()(texts.key)
export const someKey: Key | null = texts.key

// @ts-expect-error a feed of strings
texts.append(5)
// @ts-expect-error a feed of strings
texts.append([new Uint8Array(1)])
// @ts-expect-error a feed of bytes
bytes.append({ any: 'thing' })
// @ts-expect-error a feed of strings
texts.createWriteStream().write(5)
// @ts-expect-error indexes are numbers
texts.get('0')
// @ts-expect-error there is no such option
texts.get(0, { timeuot: 5 })
// @ts-expect-error a rate is a number
texts.replicate(true, { maxUploadRate: '5' })
// @ts-expect-error a controller is no signal
texts.get(0, { signal: new AbortController() })
// @ts-expect-error a number is no encoding
texts.get(0, { valueEncoding: 5 })
// @ts-expect-error no such event
texts.on('apend', () => {})
// @ts-expect-error what listeners get
texts.on('download', (index: string) => index)
// @ts-expect-error no callback
texts.update(5, 'callback')
// @ts-expect-error there is no such option
texts.download({ form: 5 })
// @ts-expect-error a read-only property
texts.length = 5
