/** A dedicated worker of an application that uses the package itself. */
import { runConformance } from './conformance-run.ts'

addEventListener('message', ({ data }) => {
  runConformance('worker', data).then((results) => postMessage(results))
})
