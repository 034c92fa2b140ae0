/** Micro benchmarks of the sources: `npm run bench:micro [filter]`, a regular expression for their names. See ../README.md. */
import { group, run } from 'mitata'
import { bitfield } from './bitfield.ts'
import { framing } from './framing.ts'
import { hashing } from './hashing.ts'
import { proof } from './proof.ts'

for (const [name, define] of Object.entries({ hashing, bitfield, proof, framing })) group(name, define)
// A benchmark that throws ends the run; colours are for who looks at it.
await run({ filter: new RegExp(process.argv[2] ?? ''), throw: true, colors: process.stdout.isTTY === true })
