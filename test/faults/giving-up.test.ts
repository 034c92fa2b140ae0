/**
 * A writer of which only the signatures show that its history was longer: each storage operation of an append that gives that
 * history up fails once. A rejected one has given nothing up.
 */
import assert from 'node:assert/strict'
import test from 'tape'
import { MemoryFiles } from '../helpers/memory-files.ts'
import { assertFeedIs } from '../helpers/models.ts'
import { ours } from '../helpers/ours.ts'
import { rejection } from '../helpers/watchdog.ts'
import { isDead, sweep } from './sweep.ts'

const open = ours()
const OLD = ['a', 'b', 'c', 'd', 'e'].map((text) => Buffer.from(text))
const LOST = ['f', 'g', 'h', 'i'].map((text) => Buffer.from(text))

/** Files as a power failure may leave them: all but the signatures as they were before some blocks. */
async function filesBehind(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const feed = open(files.factory())
  for (const block of OLD) await feed.append(block)
  const older = files.clone()
  for (const block of LOST) await feed.append(block)
  await feed.close()
  older.put('signatures', files.read('signatures'))
  return older
}

for (const anew of [[Buffer.from('anew')], ['x', 'y', 'z'].map((text) => Buffer.from(text))]) {
  test(`failing storage: append insists on ${anew.length} blocks`, async (t) => {
    const base = await filesBehind()
    await sweep(t, async (plan, mode, n) => {
      const files = base.clone()
      const feed = open(files.factory(plan))
      await feed.ready()
      plan.arm(mode, n)
      const error = await feed.call('append', anew, { force: true }).then(
        () => null,
        (refusal: unknown) => refusal
      )
      plan.disarm()
      await feed.close().catch(() => {})
      const again = open(files.factory())
      await again.ready()
      const appended = [...OLD, ...anew]
      if (error === null) await assertFeedIs(again, { blocks: appended })
      else if (!isDead(mode) || again.length === OLD.length) {
        await assertFeedIs(again, { blocks: OLD })
        const { code } = (await rejection(again.append('unasked'), 'append')) as { code?: unknown }
        assert.equal(code, 'ERR_BEHIND', 'what was refused has given nothing up')
      } else await assertFeedIs(again, { blocks: appended })
      if (error === null) assert.equal(await again.append('on top'), appended.length)
      await again.close()
    })
  })
}
