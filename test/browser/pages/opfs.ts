/** What lies in the origin private file system. */

/** Paths and sizes of all files below a folder, in order; null if it does not exist. */
export async function listing(folder: string): Promise<Record<string, number> | null> {
  let handle = await navigator.storage.getDirectory()
  try {
    for (const name of folder.split('/')) handle = await handle.getDirectoryHandle(name)
  } catch (error) {
    if ((error as Error).name === 'NotFoundError') return null
    throw error
  }
  const out: Record<string, number> = {}
  await list(handle, '', out)
  return Object.fromEntries(Object.entries(out).sort())
}

async function list(
  folder: FileSystemDirectoryHandle,
  prefix: string,
  out: Record<string, number>
): Promise<void> {
  for await (const [name, handle] of folder.entries()) {
    if (handle.kind === 'directory') await list(handle as FileSystemDirectoryHandle, `${prefix}${name}/`, out)
    else out[prefix + name] = (await (handle as FileSystemFileHandle).getFile()).size
  }
}
