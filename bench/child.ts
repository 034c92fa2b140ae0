/** The program of every measuring, preparing and checking process: does one job, reports, waits for its end. */
import { writeSync } from 'node:fs'
import { randomNumbers } from './harness/blocks.ts'
import { checkClaim } from './harness/check.ts'
import { type CreateFeed, call } from './harness/feed.ts'
import type { Answer, Job, MeasureJob } from './harness/jobs.ts'
import { measure } from './harness/measure.ts'
import { prepareFeed } from './harness/prepare.ts'
import { subjectNamed } from './harness/subjects.ts'
import { rowNamed } from './rows/index.ts'

async function measureRow(create: CreateFeed, job: MeasureJob, base: number): Promise<Answer> {
  const work = await rowNamed(job.row).start({
    async open(dir, key = null, options = {}) {
      const feed = create(dir, key, options)
      await call((callback) => feed.ready(callback))
      return feed
    },
    create: (dir) => create(dir, null, {}),
    fixtureDir: job.fixtureDir,
    fixtureBlocks: job.fixtureBlocks,
    dir: job.dir,
    size: (real, smoke) => (job.smoke ? smoke : real),
    random: randomNumbers(job.seed)
  })
  const measurement = await measure(work, job.warm, job.timed, base)
  return work.claim ? { measurement, claim: work.claim() } : { measurement }
}

async function run(job: Job): Promise<Answer> {
  const base = process.memoryUsage.rss()
  const create = await subjectNamed(job.subject).load(job.root)
  if (job.kind === 'measure') return measureRow(create, job, base)
  if (job.kind === 'prepare') await prepareFeed(create, job)
  else await checkClaim(create, job.claim)
  return {}
}

// The process that started this one ends it when it has read the answer. Should that process be gone, so is
// the other end of this pipe.
process.stdin.resume().on('close', () => process.exit(1))
process.on('uncaughtException', (error) => report({ error: error.message }))

function report(answer: Answer): void {
  writeSync(1, `${JSON.stringify(answer)}\n`)
}

run(JSON.parse(process.argv[2]!) as Job).then(report, (error: Error) => report({ error: error.message }))
