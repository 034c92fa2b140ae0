import type { Damage, Feed } from 'ddatabase'
import type { Output } from './output.ts'
import { count } from './units.ts'

/** Tells people what a feed finds wrong with itself, from its opening on. Errors of calls are not among it. */
export function tellTrouble(feed: Feed, dir: string, out: Output): void {
  feed.on('recovered', ({ lostBlocks }) => {
    if (lostBlocks === 0) out.note(`Opening ${dir} mended what a crash had left.`)
    else
      out.warn(
        `${count(lostBlocks, 'block')} in ${dir} did not hold any more; \`ddatabase sync\` fetches them again.`
      )
  })
  feed.on('damage', (damage, repaired) => {
    const what = repaired ? 'was mended' : 'is not here any more'
    out.warn(`${dir} was damaged: ${describeDamage(damage)}; it ${what}.`)
  })
  feed.on('behind', (length) => {
    out.warn(
      `a history of ${count(length, 'block')} of this feed was signed, and is not here; \`ddatabase sync\` fetches it.`
    )
  })
  feed.on('fork', () => {
    out.warn(
      'the key of this feed has signed two histories; this one is kept, ask its author which is right.'
    )
  })
}

/** Damage in words: which file, what is wrong, and which blocks that concerns. */
export function describeDamage({ file, problem, start, end }: Damage): string {
  const blocks =
    end <= start ? '' : end - start === 1 ? ` (block ${start})` : ` (blocks ${start} to ${end - 1})`
  return `${file}: ${problem}${blocks}`
}
