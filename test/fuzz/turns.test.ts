/** A short run of the fuzzer of turns; `npm run fuzz -- turns` makes long ones. The seeds of failures are kept here. */
import { fuzzTest } from './short-run.ts'
import { fuzzTurns, RARE } from './turns.ts'

fuzzTest({
  name: 'fuzz: our package and the published one take turns',
  fuzz: fuzzTurns,
  // What once failed: a truncation did not sign the new end where another feed's signature lay in its slot. Then: an author was told for ever of
  // a lost history that an overwritten feed had left. Then: an end within a batch that was truncated to was lost. Then: such an end was refused
  // where its blocks were cleared. Then: what was appended to an end that is not signed was lost if a checkpoint was made of that end. Then:
  // an end that is not signed, and of which our package had cleared a block, was not opened again. Then: a truncation left part of a slot
  // behind the signatures, so that one by a published package was not seen. Then: an empty block at the end, behind blocks that a published
  // package had cleared, was taken for one whose bytes are missing. Then: behind slots that an interrupted append had left, the part of a
  // later signature looked like one of a longer history, and an empty slot like a truncation.
  found: [
    1736069068, 1877275647, 104, 130, 707, 842, 246, 1245, 706, 1632, 2229, 2571, 1391, 1280192064, 420053749,
    1280194481, 1280183070
  ],
  rare: RARE,
  runs: 300
})
