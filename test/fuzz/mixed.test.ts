/** A short run of the fuzzer of mixed packages; `npm run fuzz -- mixed` makes long ones. The seeds of failures are kept here. */
import { fuzzMixed, RARE } from './mixed.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: feeds of this package and of the published ones, connected, called and cut at any time',
  fuzz: fuzzMixed,
  found: [],
  rare: RARE,
  runs: 30
})
