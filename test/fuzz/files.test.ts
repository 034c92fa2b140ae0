/** A short run of the fuzzer of stored files; `npm run fuzz -- files` makes long ones. The seeds of failures are kept here. */
import { fuzzFiles } from './files.ts'
import { fuzzTest } from './short-run.ts'

fuzzTest({
  name: 'fuzz: damaged files',
  fuzz: fuzzFiles,
  // What once failed: a proof by an older head brought other nodes than were foreseen, signatures that were damaged were sent
  // on, and nodes that were damaged made an honest peer look like a liar. Then: the roots of a copy were believed without a
  // signature, and blocks were announced whose leaves were not known, so that requests for them had no answer. Then: an author
  // appended below a signature whose root was damaged or lost, and a proof ended in a gap of the bits without a signature. Then:
  // an author believed a root above nodes that it never had, and a static feed proved blocks by roots that are not its key's. Then:
  // a bit beyond the end hid the signature of the end from an author whose root was damaged; and a proof without the way up to a root was
  // taken for one, by the signature of roots that were known. Then: a block whose size was mended while it was read; and a static feed with
  // signatures of another one sent them. Then: an author took signatures above damaged nodes for what a truncation had left, gave up with
  // `repair` what a checkpoint spoke of and appended in its place, and signed a damaged leaf whose block it could not compare. Then: an audit
  // worked out thousands of damaged nodes anew for each block below them, and an author signed a root that was worked out from a torn node.
  found: [
    209, 212, 301, 302, 363, 384, 1507, 130, 371, 1053, 1135, 1740, 2095, 2150, 2183, 2198, 2336, 2342, 2483,
    2494, 2789, 2053344580, 2053346256, 2053348564, 2053348720, 2053352763, 4575, 24843, 481017148, 481018202,
    1002867975, 879416789, 879433791, 879408938, 879411054, 879441224, 1132639949, 1132653740, 722938360
  ],
  runs: 190
})
