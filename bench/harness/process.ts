import { spawn } from 'node:child_process'
import type { Answer, Job } from './jobs.ts'

/** Seconds after which a job is taken to hang. */
const jobTimeout = 300

/**
 * Runs one job in a process of its own. The process is ended by SIGKILL as soon as it has reported: a writer
 * gets no chance to close, flush or finish anything that it has acknowledged.
 * @throws {Error} what the job failed with.
 */
export function runJob(program: string, job: Job): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', program, JSON.stringify(job)], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    let text = ''
    let hung = false
    const timer = setTimeout(() => {
      hung = true
      child.kill('SIGKILL')
    }, jobTimeout * 1000)
    child.stdout.setEncoding('utf8')
    child.stdout.on('data', (part: string) => {
      text += part
      if (text.endsWith('\n')) child.kill('SIGKILL')
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (hung) return reject(new Error(`No answer within ${jobTimeout} s`))
      if (!text.endsWith('\n')) return reject(new Error(`The process ended early (${signal ?? code})`))
      const answer = JSON.parse(text) as Answer
      if (answer.error !== undefined) reject(new Error(answer.error))
      else resolve(answer)
    })
  })
}
