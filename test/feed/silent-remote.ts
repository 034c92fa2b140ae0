/** A remote that says it has blocks, and answers no request: what it is asked for stays open until it is taken back. */
import { type Feed, ProtocolStream } from '../../src/index.ts'
import { join } from '../helpers/replication-pipes.ts'
import { settle } from '../helpers/watchdog.ts'

/** What the remote was asked for. */
export interface SilentRemote {
  /** Blocks of the requests that came. */
  readonly requested: number[]
  /** Blocks of the requests that are open. */
  readonly open: Set<number>
  /** Waits until what is under way has arrived. */
  heard(): Promise<void>
  leave(): Promise<void>
}

/** Connects a feed to a remote that claims to have its first `length` blocks. */
export async function silentRemote(feed: Feed<never>, length: number): Promise<SilentRemote> {
  const requested: number[] = []
  const open = new Set<number>()
  const remote = new ProtocolStream(false)
  const ours = feed.replicate(true, { live: true })
  join(ours as never, remote as never)
  const channel = remote.open(feed.key!, {
    onopen() {
      channel.status({ uploading: true, downloading: false })
    },
    onwant: () => channel.have({ start: 0, length }),
    onrequest({ index, hash, nodes }) {
      // Its head, to be compared; nobody waits for that.
      if (hash && nodes === 0 && index < feed.length) return
      requested.push(index)
      open.add(index)
    },
    oncancel: ({ index }) => void open.delete(index)
  })
  const heard = () => settle(20)
  await heard()
  return {
    requested,
    open,
    heard,
    async leave() {
      remote.destroy()
      await heard()
    }
  }
}
