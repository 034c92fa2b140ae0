import type { ServeArguments } from './arguments.ts'
import { cloneInProcess } from './clone-process.ts'
import { offerDigest } from './digest-extension.ts'
import { EXIT, stopIfAsked } from './failure.ts'
import { type Examined, importAndExamine } from './import-and-examine.ts'
import type { Report, Surroundings } from './report.ts'
import { HOST, type Served, Server } from './server.ts'
import { Source } from './source.ts'
import { count, hex, megabytes, seconds, speed } from './units.ts'
import { prepareWorkplace, type Workplace } from './workplace.ts'

/**
 * The first half: imports the file, examines the feed, and serves it; in mode `both` to a second process that it starts,
 * in mode `serve` until Ctrl-C. Returns the exit code.
 */
export async function serve(args: ServeArguments, around: Surroundings): Promise<number> {
  const started = performance.now()
  const source = await Source.open(args.file)
  try {
    const server = await Server.listen(args.port)
    try {
      const place = await prepareWorkplace(args.keep, 'feed')
      const examined = await importAndExamine(source, place, around)
      try {
        stopIfAsked(around.signal)
        offerDigest(examined.feed, examined.sha256)
        if (args.mode === 'serve') return await untilInterrupted(server, examined, place, around)
        return await toSecondProcess(server, examined, place, args, around, started)
      } finally {
        await examined.feed.close()
      }
    } finally {
      await server.close()
    }
  } finally {
    await source.close()
  }
}

async function untilInterrupted(
  server: Server,
  { feed, sha256 }: Examined,
  place: Workplace,
  { report, signal }: Surroundings
): Promise<number> {
  server.serve(feed, (served) => tellServed(report, served))
  const key = hex(feed.key)
  report.gap()
  report.tell('key', key)
  report.tell('length', count(feed.length, 'block'))
  report.tell('SHA-256', sha256)
  if (place.kept) report.tell('kept in', place.feed)
  report.tell('serving', `on ${HOST}, port ${server.port}, until Ctrl-C. In another terminal:`)
  report.tell('', `npm start -- clone ${key} --port ${server.port}`)
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
  return 0
}

async function toSecondProcess(
  server: Server,
  { feed, time }: Examined,
  place: Workplace,
  args: ServeArguments,
  { report, signal }: Surroundings,
  started: number
): Promise<number> {
  // Told at the end: until then the terminal belongs to the other process.
  const connections: Served[] = []
  server.serve(feed, (served) => connections.push(served))
  const key = hex(feed.key)
  report.tell('serving', `on ${HOST}, port ${server.port}; the next lines are those of a second process`)
  report.gap()
  const code = await cloneInProcess({ key, port: server.port, keep: args.keep }, server, signal)
  report.gap()
  for (const served of connections) tellServed(report, served)
  if (code !== 0) return code
  if (signal.aborted) return EXIT.interrupted
  report.tell('key', key)
  report.tell('length', count(feed.length, 'block'))
  report.tell('bytes', String(feed.byteLength))
  report.tell('time', `${seconds(time)} for the import, ${seconds(performance.now() - started)} in all`)
  report.tell('speed', `${speed(feed.byteLength, time)} for the import`)
  if (place.kept) report.tell('kept in', place.feed)
  return 0
}

function tellServed(report: Report, { remotePort, stats, error }: Served): void {
  const { uploadedBlocks, uploadedBytes } = stats
  const ending = error === null ? '' : '; the connection broke'
  const blocks = `${count(uploadedBlocks, 'block')} (${megabytes(uploadedBytes)}) uploaded`
  report.tell('served', `${HOST}, port ${remotePort}: ${blocks}${ending}`)
}
