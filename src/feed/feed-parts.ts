import { DDATABASE } from '../dialect.ts'
import { type Damage, DDatabaseError } from '../errors.ts'
import type { ExtensionRegistry } from '../replication/extensions.ts'
import type { Peer } from '../replication/peer.ts'
import { checkRate } from '../replication/rate-limit.ts'
import { Appender } from './appender.ts'
import { CatchingUp } from './catching-up.ts'
import type { Core } from './core.ts'
import { FeedState } from './feed-state.ts'
import { Finder } from './finder.ts'
import { FORKS_NAME, Forks } from './forks.ts'
import type { FeedOptions, Key, Storage } from './options.ts'
import type { StoredBlock } from './putting.ts'
import { RawStorage } from './raw-storage.ts'
import { FeedReplication } from './replication.ts'
import { Selections } from './selections.ts'
import { Waiters } from './waiters.ts'

/** The parts of a feed: how they are joined, and which of them are told when blocks come or go. */
export abstract class FeedParts<T> extends FeedState<T> {
  readonly extensions: ExtensionRegistry<Peer>
  readonly _storage: RawStorage

  protected readonly _appender: Appender
  protected readonly _finder: Finder
  protected readonly _waiters = new Waiters()
  protected readonly _selections = new Selections()
  protected readonly _replication: FeedReplication
  protected readonly _histories: Forks
  protected readonly _catchingUp: CatchingUp
  // No block before this one is missing: where the search for "everything is here" goes on.
  private _syncedTo = 0

  protected constructor(
    storage: Storage,
    key?: Key | FeedOptions<T> | null,
    options?: FeedOptions<T> | null
  ) {
    super(storage, key, options)
    const { maxUploadRate, maxDownloadRate } = this._args.options
    this._appender = new Appender(this._appendTarget())
    this._finder = new Finder(this._finderSource())
    this._histories = new Forks(this._forksHost())
    this._catchingUp = new CatchingUp(this._catchingUpHost())
    this._replication = new FeedReplication(this._replicationHost())
    this.extensions = this._replication.extensions
    this._replication.uploadLimit.rate = checkRate(maxUploadRate, 'maxUploadRate')
    this._replication.downloadLimit.rate = checkRate(maxDownloadRate, 'maxDownloadRate')
    this._storage = new RawStorage(this._rawSource())
  }

  // ---- blocks come or go ----

  protected _blocksStored(core: Core, blocks: readonly StoredBlock[], peer: Peer | null): void {
    if (blocks.some(({ grew }) => grew)) {
      this._replication.replicator.grew(peer)
      if (peer !== null) this._catchingUp.lengthened(core.length)
    }
    let hashes = false
    for (const { block, value, isNew, grew } of blocks) {
      if (grew) this._notify('append')
      if (value === null) hashes = true
      else core.damaged.delete(block)
      // What a cache keeps is for it to give.
      if (value !== null && core.storage.blocks === null) this._waiters.give(block, value)
      if (value === null || !isNew) continue
      for (const stats of [this._transfers, peer?.stats ?? null]) {
        if (stats === null) continue
        stats.downloadedBlocks++
        stats.downloadedBytes += value.byteLength
      }
      if (peer !== null && this._isHeard('download')) peer.downloader.handedOut = true
      this._notify('download', block, value, peer)
    }
    for (const [start, end] of runsOf(blocks)) {
      this._replication.replicator.announce(start, end - start, peer)
      this._waiters.stored(start, end, core.length)
      this._selections.stored(core, start, end)
    }
    if (hashes) {
      this._waiters.changed(core.length)
      this._selections.hashesStored(core)
    }
    if (this._canWrite || blocks.every(({ value }) => value === null)) return
    const missing = core.bits.firstMissing(this._syncedTo, core.length)
    this._syncedTo = missing === -1 ? core.length : missing
    if (missing === -1) this._notify('sync')
  }

  protected _blocksReadable(core: Core, blocks: readonly StoredBlock[]): void {
    for (const [start, end] of runsOf(blocks)) this._waiters.stored(start, end, core.length)
  }

  protected override _damageFound(
    damage: readonly Damage[],
    mended: readonly Damage[],
    gone: readonly (readonly [number, number])[]
  ): void {
    if (gone.length > 0) this._blocksGone()
    for (const [start, end] of gone) this._replication.replicator.unannounce(start, end - start)
    for (const one of damage) this._notify('damage', one, mended.includes(one))
  }

  /** @param wanted - downloads fetch them again */
  protected _blocksGone(wanted = true): void {
    this._syncedTo = 0
    if (this._core !== null && wanted) this._selections.rewind(this._core)
  }

  /** Something is not wanted any more. */
  protected _requestsChanged(): void {
    if (this._core !== null) this._replication.replicator.cancelled()
  }

  // ---- what each part gets to see of the feed ----

  protected _appendTarget(): ConstructorParameters<typeof Appender>[0] {
    const feed = this
    return {
      // Appends that were accepted before closing are finished, so this does not ask whether the feed is closing.
      ready: async () => {
        if (feed._core !== null) return feed._core
        if (!feed.opening) return feed._whenReady()
        await feed.open()
        return feed._core!
      },
      checkWritable: () => {
        if (!feed._canWrite) throw new DDatabaseError('ERR_NOT_WRITABLE')
      },
      codec: feed._codec,
      application: feed._application,
      get secretKey() {
        return feed.secretKey
      },
      indexing: !!feed._args.options.indexing,
      gaveUp: () => feed._catchingUp.gaveUp(),
      appended: (start, count) => {
        feed._notify('append')
        feed._replication.replicator.announce(start, count, null)
        feed._replication.replicator.grew(null)
        feed._waiters.stored(start, start + count, feed.length)
        feed._selections.stored(feed._core!, start, start + count)
      }
    }
  }

  protected _finderSource(): ConstructorParameters<typeof Finder>[0] {
    const feed = this
    return {
      get core() {
        return feed._usable && !feed._closingBegun ? feed._core : null
      },
      ready: () => feed._whenReady(),
      get closed() {
        return feed._closingBegun
      },
      get length() {
        return feed.length
      },
      get isAuthor() {
        return feed._isAuthor
      },
      waiters: feed._waiters,
      ifAvailable: feed.ifAvailable,
      get timeouts() {
        return feed.timeouts
      },
      get expectedLength() {
        return feed._expectedLength
      },
      canHelp: (wish) => feed._replication.replicator.canHelp(wish),
      wished: (wish) => feed._replication.replicator.wished(wish),
      placed: (bytes) => feed._replication.replicator.foundBytes(bytes),
      givenUp: () => feed._requestsChanged()
    }
  }

  protected _replicationHost(): ConstructorParameters<typeof FeedReplication>[0] {
    const feed = this
    return {
      owner: feed,
      sparse: feed.sparse,
      get downloading() {
        return feed.downloading
      },
      get uploading() {
        return feed.uploading
      },
      get allowPush() {
        return feed.allowPush
      },
      get maxRequests() {
        return feed.maxRequests
      },
      stats: feed._transfers,
      ifAvailable: feed.ifAvailable,
      waiters: feed._waiters,
      selections: feed._selections,
      get core() {
        return feed._core
      },
      get key() {
        return feed.key
      },
      get noiseKeyPair() {
        return feed.noiseKeyPair
      },
      Protocol: feed._class.Protocol,
      tellsEachCall: feed._dialect === DDATABASE,
      ready: () => feed._whenReady(),
      get usable() {
        return feed._usable && !feed._closingBegun
      },
      hooked: feed._application.hooked,
      get writable() {
        return feed._canWrite
      },
      examine: (claim, remoteLength) => feed._histories.examine(feed._core!, claim, remoteLength),
      longerSeen: (length) => feed._catchingUp.longerSeen(length),
      put: (claims, peer, belief) => feed._putClaims(feed._core!, claims, peer, belief),
      appending: () => (feed._appender.busy ? feed._appender.idle() : null),
      downloadEverything: () => feed._downloadEverything(),
      lessAvailable: () => feed._finder.reconsider(),
      emit: (event, ...values) => feed._notify(event, ...values),
      listens: (event) => feed._isHeard(event)
    }
  }

  protected _forksHost(): ConstructorParameters<typeof Forks>[0] {
    const feed = this
    return {
      application: feed._application,
      get key() {
        return feed.key
      },
      file: this._lineFile(FORKS_NAME),
      met: (proof) => feed._notify('fork', proof),
      cutTo: (length) => feed._cutTo(feed._core!, length, false),
      forget: (length, roots) => feed._forget(feed._core!, length, roots)
    }
  }

  protected _catchingUpHost(): ConstructorParameters<typeof CatchingUp>[0] {
    const feed = this
    return {
      get core() {
        return feed._core
      },
      get writable() {
        return feed._canWrite && !feed._closingBegun
      },
      get downloadingSet() {
        return feed._downloadingSet
      },
      switchDownloading: (on) => {
        feed.downloading = on
        for (const peer of [...feed.peers]) if (!peer.downloadingChosen) peer.setDownloading(on)
      },
      behind: (length) => feed._notify('behind', length)
    }
  }

  protected _rawSource(): ConstructorParameters<typeof RawStorage>[0] {
    const feed = this
    return {
      ready: () => feed._whenReady(),
      get files() {
        return feed._files
      },
      get core() {
        return feed._core
      },
      get key() {
        return feed.key
      },
      get secretKey() {
        return feed.secretKey
      }
    }
  }
}

/** Blocks with data as runs of neighbours, in the order in which they were stored: first block, end. */
function runsOf(blocks: readonly StoredBlock[]): [number, number][] {
  const runs: [number, number][] = []
  for (const { block, value } of blocks) {
    const run = runs[runs.length - 1]
    if (value === null) continue
    if (run !== undefined && run[1] === block) run[1]++
    else runs.push([block, block + 1])
  }
  return runs
}
