/** A short run of the fuzzer of faults; `npm run fuzz -- faults` makes long ones. The seeds of failures are kept here. */
import { fuzzFaults } from './faults.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: storages that fail while much is going on',
  fuzz: fuzzFaults,
  // What once failed: a batch that waited was answered with zeros in place of a block that was cleared meanwhile. Then: an audit told that it
  // had repaired what could not be written.
  found: [2287, 2273],
  runs: 40
})
