/** A short run of the fuzzer of stored files; `npm run fuzz -- files` makes long ones. The seeds of failures are kept here. */
import { fuzzFiles } from './files.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: damaged files',
  fuzz: fuzzFiles,
  // What once failed: a proof by an older head brought other nodes than were foreseen, signatures that were damaged were sent
  // on, and nodes that were damaged made an honest peer look like a liar.
  found: [209, 212, 301, 302, 363, 384, 1507],
  runs: 190
})
