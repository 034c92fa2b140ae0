import { DDatabaseError } from '../errors.ts'
import type { Recovered } from './recovered.ts'
import { Recovering, rootsDamage } from './recovering.ts'
import type { RecoverySource } from './stored-heads.ts'

/**
 * Finds out what of the stored feed holds (docs/design.md, "Recovery"). Reads only.
 *
 * 1. The length: the greatest one whose signature holds over the roots in the tree file, whatever the bits say; but at
 *    least what the checkpoint proves. Without a checkpoint the bits lead, as far as a signature agrees.
 * 2. What the bits claim beyond the checkpoint, and every block beyond it, is compared with the tree from the roots down.
 *
 * Errors: `ERR_FEED_DAMAGED` with a list, `ERR_STORAGE`.
 */
export async function recover(source: RecoverySource): Promise<Recovered> {
  const { checkpoint, core, copy, repair } = source
  if (core.pages.source !== null) {
    const recovered = await withoutReading(source)
    if (recovered !== null) return recovered
    // In doubt everything is looked at.
    await source.readPages()
    source.touched = null
  }
  const recovering = new Recovering(source)
  const fromCheckpoint = checkpoint === null ? null : await recovering.fromCheckpoint(checkpoint)
  if (fromCheckpoint !== null) return fromCheckpoint
  const recovered = await withoutCheckpoint(source, recovering)
  // What the checkpoint and the bits agree on was here: an author does not go on below it unasked.
  if (checkpoint === null || recovered.length >= checkpoint.length) return recovered
  const { length, report } = recovered
  // Somebody else has made it shorter.
  if (core.tree.blocks() < checkpoint.length && !source.bitsLost) return recovered
  const lost = rootsDamage(length, checkpoint.length)
  if (!copy && !repair) throw new DDatabaseError('ERR_FEED_DAMAGED', { damage: [lost] })
  // Given up for reading: others may still have what was signed there.
  const behind = copy ? recovered.behind : Math.max(recovered.behind, checkpoint.length)
  return { ...recovered, behind, report: report && { ...report, damage: [lost, ...report.damage] } }
}

/** What is found where the checkpoint tells what may have changed since; null if what is found needs a closer look. */
async function withoutReading(source: RecoverySource): Promise<Recovered | null> {
  const { checkpoint, core, repair, touched } = source
  if (checkpoint === null) return null
  if (touched === null) return new Recovering(source).clean(checkpoint)
  // Somebody else has made it shorter.
  if (repair || core.tree.blocks() < checkpoint.length) return null
  try {
    return await new Recovering(source).fromCheckpoint(checkpoint)
  } catch (error) {
    if (DDatabaseError.is(error) && error.code === 'ERR_FEED_DAMAGED') return null
    throw error
  }
}

async function withoutCheckpoint(source: RecoverySource, recovering: Recovering): Promise<Recovered> {
  if (source.checkpoint === null && source.repair) {
    const recovered = await recovering.fromNothing()
    if (recovered.proven) return recovered
  }
  if (!source.whole && !source.bitsLost) {
    const recovered = await recovering.fromBits()
    if (recovered !== null) return recovered
  }
  // Where the bits lead nowhere: what a signature, or the key of a static feed, proves needs no bits.
  const recovered = await recovering.fromNothing()
  if (recovered.proven || source.whole || source.repair) return recovered
  // A copy that has lost all that its key, or a signature, could vouch for: perhaps the key is not the one that it was made with.
  const gone = source.copy && recovered.length === 0 && (source.bitsLost || source.core.tree.blocks() > 0)
  if (source.small && !gone) return recovered
  throw new DDatabaseError('ERR_FEED_DAMAGED', {
    message: 'No node found',
    damage: [
      source.bitsLost
        ? { file: 'bitfield', problem: 'the file is lost', start: 0, end: 0 }
        : (recovering.unsigned ?? {
            file: 'tree',
            problem: 'roots are missing',
            start: 0,
            end: source.core.tree.blocks()
          })
    ]
  })
}
