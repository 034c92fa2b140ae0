import { bindsRoots } from '../merkle/fork.ts'
import type { Claim, Verified } from '../merkle/verify.ts'
import { UnprovenGrowth } from '../replication/source.ts'
import type { Core } from './core.ts'

/** Whether a proof that reaches this head makes the feed longer without showing that this continues the one that is here. */
export function growsUnproven(core: Core, block: number, head: Verified['head']): boolean {
  return head !== null && head.length > core.length && !bindsRoots(block, head.length, core.roots)
}

/**
 * Checks that a proof whose signature holds, and that would make the feed longer, shows the longer history to continue the one
 * that is here. A signature vouches for the roots of its length, and not for those that are here.
 * Errors: {@link UnprovenGrowth}.
 */
export function checkGrowth(core: Core, { block }: Claim, head: Verified['head']): void {
  if (growsUnproven(core, block, head)) throw new UnprovenGrowth()
}
