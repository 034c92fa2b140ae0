/** A short run of the fuzzer of sessions; `npm run fuzz -- sessions` makes long ones. The seeds of failures are kept here. */
import { fuzzSessions } from './sessions.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: several feeds, owners and connections, called and closed at any time',
  fuzz: fuzzSessions,
  // What once failed: nodes and signatures were said not to be there, because the storage was closed before it read them. Then: a listener
  // closed a channel that was just being opened.
  found: [73, 1637, 1985],
  runs: 150
})
