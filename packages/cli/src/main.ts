/** The program: what bin/ddatabase.js runs. */
import { interruptible } from './interrupt.ts'
import { runProgram } from './run.ts'

const { stdin, stdout, stderr } = process
const code = await runProgram(process.argv.slice(2), { stdin, stdout, stderr, signal: interruptible() })
// Not to be kept alive by a terminal that is read, or by a peer that does not answer.
process.exit(code)
