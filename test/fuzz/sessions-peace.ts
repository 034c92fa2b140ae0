/** What must hold when a storm of calls is over: nobody waits for somebody who is gone, and everybody gets what is there. */
import { settle } from '../helpers/watchdog.ts'
import type { Connections } from './sessions-connections.ts'
import type { Member } from './sessions-members.ts'
import type { Story } from './sessions-story.ts'

// Beyond the end of all feeds.
const NOWHERE = 100_000
// Blocks that each copy is asked for at the end.
const MOST_ASKED = 25

/** The end of a storm. */
export class Peace {
  readonly #story: Story
  readonly #connections: Connections
  /** The feeds of each owner. */
  readonly #owners: readonly (readonly Member[])[]

  constructor(story: Story, connections: Connections, owners: readonly (readonly Member[])[]) {
    this.#story = story
    this.#connections = connections
    this.#owners = owners
  }

  /** Nothing is done any more, and nobody is connected. */
  async quiet(): Promise<void> {
    this.#story.calm()
    await settle(20)
    // What was to be done soon has been done by then.
    await new Promise((resolve) => setTimeout(resolve, 15))
    await this.#connections.cut()
  }

  /** Opens what is closed. Without connections nobody is waited for, whatever has happened. */
  async reopen(): Promise<void> {
    const story = this.#story
    for (const member of this.#owners.flat()) {
      const { feed, name, isClosed } = member
      if (!isClosed) continue
      await story.answered(feed.close(), `close of ${name}`)
      if (member.feed === feed) member.reopen()
    }
    for (const { feed, name, isAuthor, isOurs } of this.#owners.flat()) {
      await story.answered(feed.ready(), `ready of ${name}`)
      if (!isOurs) continue
      await settle(3)
      if (feed.peers.length > 0) story.wrong(`${name} has ${feed.peers.length} peers without a connection`)
      if (feed.ifAvailable.waiting) story.wrong(`${name} waits for somebody without a connection`)
      const what = `get of ${name} without peers`
      const code = await story.codeOf(feed.get(NOWHERE, { ifAvailable: true }), what)
      if (code !== 'ERR_BLOCK_NOT_AVAILABLE') story.wrong(`${what}: ${code}`)
      feed.setUploading(true)
      feed.setDownloading(!isAuthor)
      feed.maxUploadRate = Number.POSITIVE_INFINITY
      feed.maxDownloadRate = Number.POSITIVE_INFINITY
    }
  }

  /** Connects everybody, but for two owners of published packages: that would test nothing of ours. */
  connect(): void {
    for (const [i, one] of this.#owners.entries()) {
      for (const two of this.#owners.slice(0, i)) {
        if (one[0]!.isOurs || two[0]!.isOurs) this.#connections.connectWell(one, two)
      }
    }
  }

  /** Everybody gets what somebody has, first those of this package: published ones get it from them. */
  async exchange(): Promise<void> {
    const feeds = this.#owners.flat()
    for (const { series, feed } of feeds.filter(({ isAuthor }) => isAuthor)) {
      for (let i = 0; i < feed.length; i++) {
        if (feed.has(i)) series.knows(i, Buffer.from((await feed.get(i)) as Uint8Array))
      }
    }
    for (const member of feeds) if (member.isOurs && !member.isAuthor) await this.#gets(member)
    for (const member of feeds) if (!member.isOurs && !member.isAuthor) await this.#getsBlocks(member)
  }

  /** What every copy of this package has stored holds. */
  async audit(): Promise<void> {
    for (const { feed, name, isOurs } of this.#owners.flat()) {
      if (!isOurs) continue
      const { invalid } = await this.#story.answered(feed.audit(), `audit of ${name}`)
      if (invalid !== 0) this.#story.wrong(`${name}: ${invalid} blocks do not hold`)
    }
  }

  async #gets(member: Member): Promise<void> {
    const story = this.#story
    const { feed, name } = member
    const here = member.reachable()
    const known = here.lastIndexOf(true) + 1
    await story.answered(feed.update({ minLength: known }), `update of ${name} to ${known}`)
    const update = await story.codeOf(feed.update({ ifAvailable: true }), `update of ${name} to more`)
    if (update !== 'ERR_UPDATE_NOT_AVAILABLE') story.wrong(`update of ${name} to more: ${update}`)
    await this.#seeks(member)
    await this.#getsBlocks(member)
    const blocks = [...here.keys()].filter((index) => here[index])
    if (!feed.sparse) await story.answered(feed.download({ blocks }), `download of ${name}`)
  }

  async #getsBlocks(member: Member): Promise<void> {
    const story = this.#story
    const { feed, name, isOurs } = member
    const here = member.reachable()
    const asked = story.random.shuffle([...here.keys()]).slice(0, MOST_ASKED)
    await Promise.all(
      asked.map(async (index) => {
        const what = `get ${index} of ${name}`
        if (here[index]) member.check(index, await story.answered(feed.get(index), what))
        else if (isOurs) {
          const code = await story.codeOf(feed.get(index, { ifAvailable: true }), what)
          if (code !== 'ERR_BLOCK_NOT_AVAILABLE') story.wrong(`${what}: ${code}`)
        }
      })
    )
  }

  async #seeks({ feed, name, series }: Member): Promise<void> {
    const story = this.#story
    // Published packages have other answers.
    if (!story.seeks || !series.author.isOurs) return
    const bytes = story.random.below(feed.byteLength)
    const { index, offset } = await series.author.feed.seek(bytes)
    // How two neighbours share their bytes tells who has one of them, to somebody who has not. If nobody does, there may be no answer.
    const known = [index & ~1, index | 1].some(
      (block) => !feed.has(block) && series.members.some((other) => other.feed.has(block))
    )
    const what = `seek ${bytes} of ${name}`
    try {
      const place = await story.answered(feed.seek(bytes, { ifAvailable: !known }), what)
      if (place.index !== index || place.offset !== offset)
        story.wrong(`${what} is ${JSON.stringify(place)}, not ${index}, ${offset}`)
    } catch (error) {
      if (known || (error as { code?: unknown }).code !== 'ERR_SEEK_NOT_AVAILABLE') throw error
    }
  }
}
