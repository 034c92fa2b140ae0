/**
 * The few objects of browsers that the storage here uses, as far as it uses them. Declared here instead of taken from
 * the DOM library of TypeScript, so that neither the rest of the source nor programs for Node see browser globals.
 */

/** A `FileSystemSyncAccessHandle`. Only dedicated workers have them, and each file at most one. */
export interface SyncAccessHandle {
  read(target: Uint8Array, options: { at: number }): number
  write(data: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}

/** A `FileSystemFileHandle`. */
export interface FileHandle {
  createSyncAccessHandle?(): Promise<SyncAccessHandle>
}

/** A `FileSystemDirectoryHandle`. */
export interface FolderHandle {
  getDirectoryHandle(name: string, options: { create: boolean }): Promise<FolderHandle>
  getFileHandle(name: string, options: { create: boolean }): Promise<FileHandle>
  removeEntry(name: string): Promise<void>
}

/** A `LockManager`. */
export interface LockManager {
  request(
    name: string,
    options: { signal: AbortSignal },
    whenHeld: (lock: unknown) => Promise<void>
  ): Promise<void>
}

/** What is used of a `Worker`. */
export interface StorageWorker {
  /** Sends a message; the buffers in `transfer` move along. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void
  /** Hears its messages and failures. */
  // biome-ignore lint/suspicious/noExplicitAny: the events of the DOM library are types of their own
  addEventListener(type: string, listener: (event: any) => void): void
  /** Ends it. */
  terminate(): void
}

interface WebGlobals {
  readonly isSecureContext?: boolean
  readonly navigator?: {
    readonly storage?: { getDirectory?(): Promise<FolderHandle> }
    readonly locks?: LockManager
  }
  readonly Worker?: unknown
  readonly DedicatedWorkerGlobalScope?: new () => unknown
}

/** The global object. */
export const web = globalThis as unknown as WebGlobals

/** Whether this code runs in a dedicated worker. */
export function inDedicatedWorker(): boolean {
  const Scope = web.DedicatedWorkerGlobalScope
  return Scope !== undefined && globalThis instanceof Scope
}
