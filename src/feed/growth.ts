import { bindsRoots } from '../merkle/fork.ts'
import type { Claim, Verified } from '../merkle/verify.ts'
import { UnprovenHistory } from '../replication/source.ts'
import type { Core } from './core.ts'
import type { Unlink } from './unlinked.ts'

/** What a proof need not show, because who sends it is believed. */
export interface Belief {
  /** That a longer history continues the one that is here. */
  readonly longer: boolean
  /** That a shorter one is the beginning of the one that is here. */
  readonly shorter: boolean
}

/**
 * Which length nothing would lead from to the roots of the feed if a block were stored whose proof reaches this head; null if
 * there is none. A signature vouches for the roots of its length, and not for those that are here.
 */
export function unlinkOf(core: Core, block: number, head: Verified['head']): Unlink | null {
  const { length, roots } = core
  if (head === null || length === 0 || head.length === length) return null
  // A proof that meets what is here ends there.
  if (head.length < length) return { length: head.length, first: false }
  return bindsRoots(block, head.length, roots) ? null : { length, first: true }
}

/** Checks that a proof whose signature holds shows its history to be the one that is here. Errors: {@link UnprovenHistory}. */
export function checkHistory(core: Core, { block }: Claim, head: Verified['head'], belief: Belief): void {
  const unlink = unlinkOf(core, block, head)
  if (unlink !== null && !(unlink.first ? belief.longer : belief.shorter))
    throw new UnprovenHistory(!unlink.first)
}
