import { DDatabaseError } from 'ddatabase'
import { codeOf, type ExitKind, Failure } from './exit.ts'

/**
 * A kind of ending and a sentence; `$` in it stands for the subject, such as the path of the feed, `$m` for the message, and `$r` for what to
 * do when the cause is mended.
 */
type Told = readonly [kind: ExitKind, sentence: string]

/** What the core says, in words for people who do not know it. */
const CORE: Readonly<Record<string, Told>> = {
  ELOCKED: ['feed', 'The feed in $ is in use by another process; stop that one first, or wait for it.'],
  ERR_NO_FEED: ['feed', '$ is not a feed; `ddatabase create` makes one.'],
  ERR_OTHER_FEED: ['feed', '$ holds a feed with another key; name another folder.'],
  ERR_KEY_MISSING: [
    'damage',
    'The file `key` of the feed in $ is gone; restore it, or clone the feed again.'
  ],
  ERR_KEY_DAMAGED: [
    'damage',
    'The file `key` of the feed in $ is damaged; restore it, or clone the feed again.'
  ],
  ERR_SECRET_KEY_DAMAGED: [
    'damage',
    'The file `secret_key` of the feed in $ is damaged; restore it, or remove it to open the feed for reading.'
  ],
  ERR_SECRET_KEY_MISMATCH: ['damage', 'The secret key does not belong to the feed in $; use the right one.'],
  ERR_HEADER_INVALID: [
    'feed',
    '$ is not a feed, or its files are damaged; name another folder, or clone the feed again.'
  ],
  ERR_FEED_DAMAGED: [
    'damage',
    'The feed in $ is damaged; `ddatabase audit --repair` gives up what cannot be mended, and `ddatabase sync` fetches it again.'
  ],
  ERR_BLOCK_DAMAGED: [
    'damage',
    'A block of the feed in $ is damaged; `ddatabase audit` forgets it, and `ddatabase sync` fetches it again.'
  ],
  ERR_FORK: ['damage', 'The key of this feed has signed another history; ask its author which one is right.'],
  ERR_NOT_WRITABLE: [
    'feed',
    'The feed in $ cannot be appended to: its secret key is not here, only its author has it.'
  ],
  ERR_BEHIND: [
    'feed',
    'A longer history of the feed in $ was signed before than is here; fetch it with `ddatabase sync` before appending.'
  ],
  ERR_BLOCK_TOO_LARGE: [
    'usage',
    'A block of a feed has at most 8384512 bytes; append larger values with --file, which cuts them.'
  ],
  ERR_WRITE_REFUSED: [
    'storage',
    'An earlier write to $ failed and could not be undone; run it again when the disk is well.'
  ],
  ERR_BLOCK_NOT_DOWNLOADED: ['missing', 'A block of the feed in $ is not here; `ddatabase sync` fetches it.'],
  ERR_BLOCK_NOT_AVAILABLE: [
    'network',
    'No connected peer has the block; try again when more of them are there.'
  ],
  ERR_SEEK_NOT_AVAILABLE: [
    'network',
    'No connected peer can tell the place; try again when more of them are there.'
  ],
  ERR_SEEK_OUT_OF_BOUNDS: [
    'missing',
    'The feed in $ has fewer bytes than that; `ddatabase info` tells how many.'
  ],
  ERR_SEEK_NOT_FOUND: [
    'missing',
    'What tells that place in the feed in $ is not here; `ddatabase sync` fetches it.'
  ],
  ERR_FEED_EMPTY: ['missing', 'The feed in $ has no blocks yet.'],
  ERR_INVALID_ARG_VALUE: ['usage', 'An argument cannot be used: $m.'],
  ERR_OUT_OF_RANGE: ['usage', 'An argument cannot be used: $m.']
}

const PORT_IN_USE: Told = [
  'network',
  'The port is in use by another program; choose another one with --port.'
]
const NOTHING_LISTENS: Told = [
  'network',
  'Nothing listens at $; check the address, and that `ddatabase share` runs there.'
]

/** What the system says, and the swarm of its connections. */
const SYSTEM: Readonly<Record<string, Told>> = {
  ENOSPC: ['storage', 'There is no space left for $; make some and $r.'],
  EDQUOT: ['storage', 'The quota for $ is used up; make space and $r.'],
  EROFS: ['storage', '$ is on a file system that cannot be written to.'],
  EFBIG: ['storage', 'A file of $ would be larger than the system allows; raise that limit and $r.'],
  EIO: ['storage', 'The disk failed at $; check it before going on.'],
  EACCES: ['files', 'Access to $ is denied; check its permissions.'],
  EPERM: ['files', 'The system does not permit this with $; check its permissions.'],
  ENOENT: ['files', '$ does not exist; check the path.'],
  ENOTDIR: ['files', 'A part of the path $ is no folder; check the path.'],
  EISDIR: ['files', '$ is a folder, not a file; check the path.'],
  EEXIST: ['files', '$ exists already; name another one.'],
  ENAMETOOLONG: ['files', 'The name $ is too long for this system.'],
  ELOOP: ['files', '$ is a circle of symbolic links.'],
  EMFILE: ['storage', 'Too many files are open; close some programs, or raise the limit, and run it again.'],
  ENFILE: ['storage', 'Too many files are open on this machine; close some programs and run it again.'],
  EADDRINUSE: PORT_IN_USE,
  EADDRNOTAVAIL: ['network', 'This machine does not have that address; choose another one with --host.'],
  ECONNREFUSED: NOTHING_LISTENS,
  ENOTFOUND: ['network', 'There is no host of the name in $; check the address.'],
  EAI_AGAIN: ['network', 'The name in $ cannot be looked up now; check the network.'],
  ENETUNREACH: ['network', 'The network of $ cannot be reached; check the connection.'],
  EHOSTUNREACH: ['network', 'The host of $ cannot be reached; check the connection.'],
  ERR_ADDRESS: ['usage', '$ is no address; write host:port, ws://host:port or wss://host.'],
  ERR_PORT_IN_USE: PORT_IN_USE,
  ERR_LISTEN: ['network', 'This port cannot be listened on: $m; choose another one with --port or --host.'],
  ERR_CONNECTION_REFUSED: NOTHING_LISTENS,
  ERR_CONNECT: ['network', '$ cannot be reached: $m; check the address and the network.'],
  ERR_CONNECT_TIMEOUT: ['network', '$ did not answer in time; check the address and the network.'],
  ERR_CONNECTION_LOST: [
    'network',
    '$ ended the connection before it told who it is; check that `ddatabase share` runs there.'
  ],
  ERR_SELF: ['usage', 'The address $ leads back to this program; name the one of the other side.'],
  ERR_DHT: ['network', 'The network of peers cannot be used; name an address with --connect.'],
  ECONNRESET: ['network', '$ broke the connection; $r.']
}

/**
 * Any error as an ending in one sentence. `subject` is what it was about: a path or an address; `remedy` is for commands that do not go
 * on where they were.
 * Whatever is not known to happen to people is a mistake in this program, and is told as such.
 */
export function explain(
  error: unknown,
  subject?: string,
  remedy = 'run it again, it goes on where it was'
): Failure {
  if (error instanceof Failure) return error
  const about = subject ?? pathOf(error) ?? 'the feed'
  const told = lookUp(error)
  if (told !== null) {
    const [kind, sentence] = told
    // At once: what is put in may hold a $ itself.
    const words = sentence.replace(/\$[rm]?/g, (mark) => {
      return mark === '$r' ? remedy : mark === '$m' ? messageOf(error) : about
    })
    return new Failure(kind, capitalized(words), error)
  }
  const code = codeOf(error)
  const message = `${messageOf(error)}${code === null ? '' : ` (${code})`}`
  if (DDatabaseError.is(error)) {
    const kind = code === 'ERR_STORAGE' ? 'storage' : 'unexpected'
    const reason = error.cause instanceof Error ? `: ${error.cause.message}` : ''
    return new Failure(kind, `${message}${reason}; --debug shows where.`, error)
  }
  return new Failure('unexpected', `Something unexpected happened: ${message}; --debug shows where.`, error)
}

/** Runs some work; what goes wrong is told of `subject`. */
export async function about<T>(subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw explain(error, subject)
  }
}

// What is said of these if nothing is known of their cause.
const VAGUE: ReadonlySet<string> = new Set(['ERR_CONNECT', 'ERR_LISTEN'])

function lookUp(error: unknown): Told | null {
  let vague: Told | null = null
  // A failed storage says why in its cause; so does every wrapper around an error of the system.
  for (let at: unknown = error; at !== undefined && at !== null; at = (at as Error).cause) {
    const code = codeOf(at)
    if (code === null) continue
    const told = (DDatabaseError.is(at) ? CORE[code] : undefined) ?? SYSTEM[code] ?? CORE[code]
    if (told === undefined) continue
    if (!VAGUE.has(code)) return told
    vague ??= told
  }
  return vague
}

function pathOf(error: unknown): string | null {
  for (let at: unknown = error; at !== undefined && at !== null; at = (at as Error).cause) {
    const { path } = at as { path?: unknown }
    if (typeof path === 'string') return path
  }
  return null
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function capitalized(sentence: string): string {
  return sentence.startsWith('the ') ? `T${sentence.slice(1)}` : sentence
}
