import { cp, mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const VECTORS = new URL('../vectors/', import.meta.url)

/** A tree node as the vectors write it; `hash` in hexadecimal. */
export interface VectorNode {
  index: number
  size: number
  hash: string
}

/** Size and digest of one of the six files, or null if it does not exist. */
export type VectorFile = { size: number; sha256: string } | null

/** What a feed opened from a storage folder must show. */
export interface VectorState {
  key: string
  writable: boolean
  live: boolean
  length: number
  byteLength: number
  /** Present blocks as [start, end) pairs. */
  haveRanges: [number, number][]
  /** Tree indexes that are known, of those below `treeIndexesKnownBelow`. */
  treeIndexesKnown: number[]
  treeIndexesKnownBelow: number
  roots: VectorNode[]
  treeHash: string
  signatureAtEnd: { index: number; signature: string } | null
}

/**
 * One entry of `storage/index.json` or `storage/index-hypercore.json`. The state is left out where the folder is
 * torn and `afterOpening` says what opening must give.
 */
export interface VectorEntry extends Partial<VectorState> {
  name: string
  about: string
  package: 'ddatabase' | 'hypercore'
  operations: string[]
  files: Record<string, VectorFile>
  /** Only these files are stored in the folder, when given. */
  storedFiles?: string[]
  blocks?: string[]
  /** In words: how a block follows from its index. */
  blockRule?: string
  valueEncoding?: string
  batches?: unknown[][]
  /** Length of the feed from which a replica was made. */
  sourceLength?: number
  bitsLeftBehind?: { index: number; has: boolean }[]
  verifyAnswers?: boolean
  afterOpening?: VectorState
  filesBeforeOpening?: Record<string, VectorFile>
}

/** A key pair of the vectors, in hexadecimal; the secret key is seed ‖ public key. */
export interface VectorKeyPair {
  seed: string
  publicKey: string
  secretKey: string
}

interface StorageIndex {
  entries: VectorEntry[]
  secretKeys?: { seed: string; publicKey: string }[]
}

/**
 * Reads a JSON file of test/vectors.
 *
 * @param path - below test/vectors, such as `crypto.json` or `proofs/feed-proofs.json`
 */
export async function readVectors<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(new URL(path, VECTORS), 'utf8')) as T
}

/** All storage folders: those written by ddatabase, then those written by hypercore. */
export async function entries(): Promise<VectorEntry[]> {
  const [ddatabase, hypercore] = await Promise.all([
    readVectors<StorageIndex>('storage/index.json'),
    readVectors<StorageIndex>('storage/index-hypercore.json')
  ])
  return [...ddatabase.entries, ...hypercore.entries]
}

/** The entry of one storage folder. */
export async function entry(name: string): Promise<VectorEntry> {
  const found = (await entries()).find((candidate) => candidate.name === name)
  if (!found) throw new Error(`there is no storage folder "${name}"`)
  return found
}

/** The key pair behind a feed key of the storage folders. */
export async function keyPair(publicKey: string): Promise<VectorKeyPair> {
  const { secretKeys = [] } = await readVectors<StorageIndex>('storage/index.json')
  const found = secretKeys.find((candidate) => candidate.publicKey === publicKey)
  if (!found) throw new Error(`there is no secret key for ${publicKey}`)
  return { ...found, secretKey: found.seed + publicKey }
}

/**
 * Copies a storage folder, because opening a feed may rewrite its headers.
 *
 * @returns path of a fresh temporary folder, which the caller removes
 */
export async function copyFolder(name: string): Promise<string> {
  const target = await mkdtemp(join(tmpdir(), `ddatabase-${name}-`))
  await cp(vectorFolder(name), target, { recursive: true })
  return target
}

/** Path of a storage folder, to read its files; never open a feed in it. */
export function vectorFolder(name: string): string {
  return fileURLToPath(new URL(`storage/${name}/`, VECTORS))
}
