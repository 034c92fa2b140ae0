/** What a storage can tell of files without reading them: whether somebody has written to them since. */
import type { StorageFactory } from './random-access.ts'

/** A file at one moment. */
export interface FileStamp {
  /** Size, identity and times of the file: another text if it was changed, or replaced. */
  readonly text: string
  /** Milliseconds until every change that is made from then on makes it another text; Infinity if that is not certain. */
  readonly settles: number
}

/** From how many pages of bits on it is worth it to know that the files are as they were: the others are read faster. */
const WORTHWHILE = 32

// The files that bits depend on. Blocks prove themselves.
const NAMES = ['bitfield', 'tree', 'signatures'] as const

/** Whether feeds with so many pages of bits are told from others by stamps here. */
export function usesStamps(create: StorageFactory, pages: number): boolean {
  return create.stampOf !== undefined && pages >= (create.stampsFrom ?? WORTHWHILE)
}

/** The files that tell what a feed has, together; null if one of them is not there, or the storage cannot tell. */
export function stampOfFiles(create: StorageFactory): FileStamp | null {
  const stamps = NAMES.map((name) => create.stampOf?.(name) ?? null)
  if (stamps.includes(null)) return null
  return {
    text: stamps.map((stamp) => stamp!.text).join('\n'),
    settles: Math.max(...stamps.map((stamp) => stamp!.settles))
  }
}
