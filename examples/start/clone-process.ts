import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EXIT, Failure } from './failure.ts'
import type { Server } from './server.ts'

const PROGRAM = fileURLToPath(new URL('../start.ts', import.meta.url))

/** What the second process is told, and nothing else. */
interface Task {
  key: string
  port: number
  keep: string | null
}

/** Runs this program a second time, as the half that clones, and returns its exit code. Ctrl-C ends the server. */
export async function cloneInProcess(task: Task, server: Server, signal: AbortSignal): Promise<number> {
  const keep = task.keep === null ? [] : ['--keep', task.keep]
  const words = ['clone', task.key, '--port', String(task.port), ...keep]
  // Its lines go straight to our output, and its bar to our terminal.
  const child = spawn(process.execPath, [...process.execArgv, PROGRAM, ...words], {
    stdio: ['ignore', 'inherit', 'inherit']
  })
  // Without its server it ends by itself, and in good order.
  const stop = (): void => void server.close()
  signal.addEventListener('abort', stop)
  try {
    if (signal.aborted) stop()
    const code = await exitOf(child)
    return signal.aborted ? EXIT.interrupted : code
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Failure('connection', `The second process could not be started: ${error.message}.`, error))
    })
    child.once('exit', (code, signal) => {
      if (code !== null) resolve(code)
      else reject(new Failure('connection', `The second process was ended by ${signal}.`))
    })
  })
}
