/** An open file of Deno. */
export interface DenoFile {
  /** False if another descriptor has the lock. Not in older versions. */
  tryLockSync?(exclusive: boolean): boolean
  /** Gives the lock up, too. */
  close(): void
}

interface Deno {
  openSync(path: string, options: { read: boolean }): DenoFile
}

/** What Deno offers beside what is there of Node.js, or null elsewhere. */
export const deno: Deno | null =
  globalThis.process?.versions?.deno === undefined ? null : (globalThis as unknown as { Deno: Deno }).Deno
