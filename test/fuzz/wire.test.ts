/** A short run of the fuzzer of the wire; `npm run fuzz -- wire` makes long ones. The seeds of failures are kept here. */
import { fuzzTest } from './short-run.ts'
import { fuzzWire } from './wire.ts'

fuzzTest({
  name: 'fuzz: hostile messages and handshakes beside an honest peer',
  fuzz: fuzzWire,
  // What once failed: a seek that did not wait had asked all the same; a hash that came late was taken for an answer; a request that
  // was cancelled just before it was answered by itself ended the connection.
  found: [180, 2472, 738545263, 738551126],
  runs: 300
})
