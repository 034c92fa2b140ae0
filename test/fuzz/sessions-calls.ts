/** What applications call, with all options that there are, and give up again. */
import { DDatabaseError } from '../../src/errors.ts'
import type { Member } from './sessions-members.ts'
import type { Story } from './sessions-story.ts'

const EXTENSIONS = ['one', 'two', 'three']

/** The calls of one application. */
export class Calls {
  readonly #story: Story
  readonly #act: (member: Member) => void

  /** @param act - does something else, from within a call */
  constructor(story: Story, act: (member: Member) => void) {
    this.#story = story
    this.#act = act
  }

  /** Makes one. */
  any(member: Member): void {
    const ticket = this.#story.random.below(70)
    if (ticket < 9) this.#grow(member)
    else if (ticket < 27) this.#read(member)
    else if (ticket < 34) this.#iterate(member)
    else if (ticket < 44) this.#download(member)
    else if (ticket < 49) this.#clear(member)
    else if (ticket < 56) this.#switch(member)
    else if (ticket < 61) this.#cancel(member)
    else if (ticket < 64) this.#extend(member)
    else if (ticket < 67) this.#tune(member)
    else this.#look(member)
  }

  /** Mostly a block that exists, sometimes one that does not yet. */
  #index({ series }: Member): number {
    return this.#story.random.below(series.blocks.length + 2)
  }

  /** Options of a call that may have to wait. */
  #waiting(): Record<string, unknown> {
    const { random } = this.#story
    const options: Record<string, unknown> = {}
    if (random.chance(0.2)) options.timeout = random.between(1, 15)
    if (random.chance(0.3)) options.ifAvailable = random.chance(0.8)
    if (random.chance(0.05)) options.wait = false
    if (random.chance(0.4)) options.signal = this.#signal()
    return options
  }

  #signal(): AbortSignal {
    const controller = new AbortController()
    const abort = () => controller.abort()
    if (this.#story.random.chance(0.8)) this.#story.soon(abort)
    else this.#story.atLast(abort)
    return controller.signal
  }

  #grow(member: Member): void {
    const { random } = this.#story
    const { author } = member.series
    const count = random.pick([1, 1, 2, 10])
    const what = random.below(10)
    if (what === 0 && this.#story.truncates) {
      const length = random.below(author.feed.length + 1)
      this.#story.call(`${author.name}: truncate to ${length}`, () => author.feed.truncate(length))
    } else if (what === 1) this.#write(author, count)
    else if (what < 4 && member !== author) this.#put(member)
    // Who is no author is told so.
    else if (what === 4) this.#story.call(`${member.name}: append`, () => member.append(1))
    else this.#story.call(`${author.name}: append ${count}`, () => author.append(count))
  }

  #write({ feed, name, series }: Member, count: number): void {
    const { random } = this.#story
    this.#story.call(`${name}: a write stream of ${count}`, () => {
      const stream = feed.createWriteStream()
      for (const block of series.draw(count)) stream.write(block)
      if (random.chance(0.3)) stream.destroy()
      else stream.end()
      return new Promise<void>((resolve, reject) => {
        stream.on('error', reject)
        stream.on('close', () => resolve())
      })
    })
  }

  #put(member: Member): void {
    const { author } = member.series
    const index = this.#story.random.below(author.feed.length)
    this.#story.call(`${member.name}: put ${index}`, async () => {
      const { feed } = member
      const block = await author.feed.get(index, { wait: false })
      await feed.ready()
      await feed.put(index, block, await author.feed.proof(index, { digest: feed.digest(index) }))
      member.check(index, block)
      member.stored(index)
    })
  }

  #read(member: Member): void {
    const { random } = this.#story
    const { feed, name, series } = member
    const index = this.#index(member)
    const options = this.#waiting()
    const words = `${index} ${Object.keys(options).join(' ')}`
    if (random.chance(0.15)) options.onwait = () => this.#story.within('onwait', () => this.#act(member), 1)
    const kind = random.pick(['get', 'get', 'getBatch', 'head', 'update', 'seek'] as const)
    if (kind === 'get') {
      const token = random.pick([undefined, 'token', Symbol('get')])
      if (token !== undefined) options.cancel = token
      this.#story.call(
        `${name}: get ${words}`,
        () => feed.get(index, options),
        (block) => member.check(index, block)
      )
      if (token !== undefined && random.chance(0.5)) this.#story.soon(() => feed.cancel(token))
    } else if (kind === 'getBatch') {
      const end = index + random.below(8)
      this.#story.call(
        `${name}: getBatch ${words} to ${end}`,
        () => feed.getBatch(index, end, options),
        (blocks) => {
          for (const [i, block] of blocks.entries()) member.check(index + i, block)
        }
      )
    } else if (kind === 'head') {
      if (random.chance(0.5)) options.update = true
      this.#story.call(`${name}: head ${words}`, () => feed.head(options))
    } else if (kind === 'update') {
      if (random.chance(0.5)) options.minLength = index
      if (random.chance(0.3)) options.hash = false
      if (random.chance(0.3)) options.force = true
      this.#story.call(`${name}: update ${words}`, () => feed.update(options))
    } else if (this.#story.seeks) {
      const bytes = random.below(feed.byteLength + 50)
      if (random.chance(0.3)) Object.assign(options, { start: random.below(5), end: index + 5 })
      if (random.chance(0.3)) options.hash = false
      this.#story.call(
        `${name}: seek ${bytes} ${words}`,
        () => feed.seek(bytes, options),
        (place) => {
          const byte = series.byteAt(place.index, place.offset)
          if (byte !== -1 && byte !== bytes) this.#story.wrong(`${name}: seek ${bytes} came to ${byte}`)
        }
      )
    }
  }

  #iterate(member: Member): void {
    const { random } = this.#story
    const { feed, name } = member
    const start = this.#index(member)
    const options = {
      start,
      ...(random.chance(0.5) && { end: start + random.below(10) }),
      ...(random.chance(0.3) && { live: true }),
      ...(random.chance(0.2) && { tail: true }),
      ...(random.chance(0.2) && { batch: random.between(1, 8) }),
      ...(random.chance(0.2) && { timeout: random.between(1, 12) }),
      ...(random.chance(0.3) && { ifAvailable: true })
    }
    const most = random.below(6)
    const check = (seen: number, block: unknown) => 'tail' in options || member.check(start + seen, block)
    const read = async () => {
      const stream = feed.createReadStream(options)
      this.#story.atLast(() => stream.destroy())
      if (random.chance(0.2)) this.#story.soon(() => stream.destroy())
      let seen = 0
      try {
        for await (const block of stream) {
          check(seen, block)
          if (seen++ >= most) break
        }
      } catch (error) {
        // That it was destroyed, `streamx` says in its own words.
        if (DDatabaseError.is(error) || !/destroyed|premature/i.test(String(error))) throw error
      }
    }
    const readWeb = async () => {
      const reader = feed.toWeb(options).getReader()
      this.#story.atLast(() => void reader.cancel().catch(() => {}))
      for (let seen = 0; seen < most; seen++) {
        const { done, value } = await reader.read()
        if (done) return
        check(seen, value)
      }
      await reader.cancel()
    }
    this.#story.call(
      `${name}: read ${JSON.stringify(options)}, ${most} blocks`,
      random.chance(0.7) ? read : readWeb
    )
  }

  #download(member: Member): void {
    const { random } = this.#story
    const { feed, name } = member
    const start = this.#index(member)
    const range = random.pick([
      { start, end: start + random.below(12), linear: random.chance(0.5) },
      { start, end: -1 },
      { blocks: [start, start + 3, start + 1] },
      { start, end: start + 4, hash: true },
      {}
    ])
    const signal = random.chance(0.3) ? this.#signal() : null
    this.#story.call(`${name}: download ${JSON.stringify(range)}`, () => {
      const download = feed.download({ ...range, signal })
      if (random.chance(0.4)) this.#story.call(`${name}: its progress`, () => download.progress())
      if (random.chance(0.5)) {
        this.#story.soon(() =>
          random.pick([
            () => download.cancel(),
            () => feed.undownload(download),
            () => feed.undownload(range)
          ])()
        )
      }
      this.#story.atLast(() => download.cancel())
      return download
    })
  }

  #clear(member: Member): void {
    const { feed, name } = member
    const start = this.#index(member)
    const end = start + this.#story.random.between(1, 6)
    member.cleared(start, end)
    this.#story.call(`${name}: clear ${start} to ${end}`, () => feed.clear(start, end))
  }

  #cancel(member: Member): void {
    const { feed, name } = member
    const start = this.#index(member)
    const end = this.#story.random.chance(0.3) ? start + 10 : null
    this.#story.call(`${name}: cancel ${start} to ${end}`, () => feed.cancel(start, end))
  }

  #switch({ feed, name }: Member): void {
    const { random } = this.#story
    const on = random.chance(0.6)
    const method = random.pick(['setDownloading', 'setUploading'] as const)
    const whom = random.chance(0.3) ? [...feed.peers] : [feed]
    this.#story.call(`${name}: ${method} ${on}`, () => {
      for (const one of whom) one[method](on)
    })
  }

  #extend(member: Member): void {
    const { random } = this.#story
    const { feed, name } = member
    const extension = random.pick(EXTENSIONS)
    this.#story.call(`${name}: the extension ${extension}`, () => {
      const there = feed.extensions.get(extension)
      if (!there) {
        feed.registerExtension<unknown>(extension, {
          encoding: 'json',
          onmessage: () => this.#story.within(`a message to ${name}`, () => this.#act(member), 0.2),
          onerror: (error) => this.#story.wrong(`a message to ${name}: ${error.stack}`)
        })
        return
      }
      random.pick([
        () => there.broadcast({ to: 'all' }),
        () => feed.peers.length > 0 && there.send({ to: 'one' }, random.pick(feed.peers)),
        () => there.destroy()
      ])()
    })
  }

  #tune(member: Member): void {
    const { random } = this.#story
    const { feed, name } = member
    this.#story.call(`${name}: tune`, () =>
      random.pick([
        () => {
          feed.maxRequests = random.between(1, 40)
        },
        () => {
          feed.maxUploadRate = random.chance(0.5) ? 20_000 : Number.POSITIVE_INFINITY
        },
        () => {
          feed.maxDownloadRate = random.chance(0.5) ? 20_000 : Number.POSITIVE_INFINITY
        },
        () => feed.setExpectedLength(this.#index(member)),
        () => {
          const done = feed.ifAvailable.waitAndContinue()
          this.#story.soon(() => void done())
        },
        () => {
          const ask = (callback: () => void) => this.#story.soon(callback)
          feed.timeouts = { get: ask, update: ask }
        }
      ])()
    )
  }

  #look(member: Member): void {
    const { feed, name } = member
    const kind = this.#story.random.pick(['flush', 'ready', 'audit', 'proof'] as const)
    this.#story.call(`${name}: ${kind}`, async () => {
      if (kind === 'proof') await feed.proof(this.#index(member))
      else if (kind === 'audit') await member.audit()
      else await feed[kind]()
    })
  }
}
