/** The program of every measuring, preparing and checking process: does one job, reports, waits for its end. */
import { writeSync } from 'node:fs'
import { randomNumbers } from './harness/blocks.ts'
import { checkClaim } from './harness/check.ts'
import { type CreateFeed, call, type Feed } from './harness/feed.ts'
import type { Answer, Job, MeasureJob } from './harness/jobs.ts'
import { measure } from './harness/measure.ts'
import { appendTo, prepareFeed } from './harness/prepare.ts'
import { runJob } from './harness/process.ts'
import { RemoteSource } from './harness/remote-source.ts'
import { serveFeed } from './harness/serve.ts'
import { loadBothEnds, subjectNamed } from './harness/subjects.ts'
import { rowNamed } from './rows/index.ts'

async function opened(feed: Feed): Promise<Feed> {
  await call((callback) => feed.ready(callback))
  return feed
}

async function measureRow(create: CreateFeed, job: MeasureJob, base: number): Promise<Answer> {
  const { root, source } = job
  const createSource = source === job.subject ? create : await subjectNamed(source).load(root)
  const row = rowNamed(job.row)
  const work = await row.start({
    open: (dir, key = null, options = {}) => opened(create(dir, key, options)),
    create: (dir) => create(dir, null, {}),
    async openSource(dir, options = {}) {
      if (row.replicates) await loadBothEnds(root)
      return opened(createSource(dir, null, options))
    },
    async appendAndDie(dir, blockSize, blocks) {
      await runJob(process.argv[1]!, { kind: 'append', root, subject: job.subject, dir, blockSize, blocks })
    },
    serve: () => RemoteSource.start({ kind: 'serve', root, subject: source, dir: job.fixtureDir }),
    fixtureDir: job.fixtureDir,
    fixtureBlocks: job.fixtureBlocks,
    dir: job.dir,
    size: (real, smoke) => (job.smoke ? smoke : real),
    random: randomNumbers(job.seed)
  })
  const measurement = await measure(work, job.warm, job.timed, base, row.quantile)
  return work.claim ? { measurement, claim: work.claim() } : { measurement }
}

async function run(job: Job): Promise<object> {
  const base = process.memoryUsage.rss()
  const create = await subjectNamed(job.subject).load(job.root)
  if (job.kind === 'measure') return measureRow(create, job, base)
  if (job.kind === 'serve') return serveFeed(create, job, base)
  if (job.kind === 'prepare') await prepareFeed(create, job)
  else if (job.kind === 'append') await appendTo(create, job)
  else await checkClaim(create, job.claim)
  return {}
}

// The process that started this one ends it when it has read the answer. Should that process be gone, so is
// the other end of this pipe.
process.stdin.resume().on('close', () => process.exit(1))
process.on('uncaughtException', (error) => report({ error: error.message }))

function report(answer: object): void {
  writeSync(1, `${JSON.stringify(answer)}\n`)
}

run(JSON.parse(process.argv[2]!) as Job).then(report, (error: Error) => report({ error: error.message }))
