/**
 * What every storage that a feed can be given has in common. Runs in Node for files and memory, and in a browser, page
 * and worker, for the origin private file system: so nothing here is Node's.
 */
import b4a from 'b4a'
import { type RandomAccess, StorageFile } from '../../src/storage/random-access.ts'
import { rejection, within } from '../helpers/watchdog.ts'

/** The checks of a test; those of tape will do. */
export interface Checks {
  equal(actual: unknown, expected: unknown, message?: string): void
  ok(value: unknown, message?: string): void
  notOk(value: unknown, message?: string): void
}

/** One check and how it went, where the suite runs elsewhere. */
export interface CheckResult {
  ok: boolean
  message: string
}

/** A kind of storage. */
export interface StorageTraits {
  name: string
  /** Whether the content outlives the storage object. */
  persistent: boolean
  /** Whether the size is known and `del` works. */
  complete: boolean
  /** Whether `readSync` and `writeSync` work while nothing is queued. */
  immediate: boolean
  /** Whether offsets and sizes that cannot be are refused; storages of other packages have their own ideas about them. */
  strict: boolean
}

/** Where one file can be stored; empty at first. */
export interface Place {
  create(): RandomAccess
  /** Whether something is stored. */
  stored(): Promise<boolean>
}

/** One test of the suite. */
export interface ConformanceTest {
  name: string
  run(t: Checks, traits: StorageTraits, place: Place): Promise<void>
}

// Buffers in Node: older storages take nothing else.
const bytes = (text: string): Uint8Array => b4a.from(text)
const text = (data: Uint8Array | null): string | null => (data === null ? null : String.fromCharCode(...data))

/** Bytes that differ from their neighbours, near and far. */
function pattern(size: number): Uint8Array {
  const data = b4a.alloc(size)
  for (let i = 0; i < size; i++) data[i] = (i * 31) ^ (i >> 8)
  return data
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i])
}

/** The suite. */
export const CONFORMANCE: readonly ConformanceTest[] = [
  {
    name: 'nothing is stored at first, however often it is asked',
    async run(t, { complete }, place) {
      const file = new StorageFile(place.create())
      for (const time of ['once', 'twice', 'three times']) {
        t.equal(await file.size(), complete ? 0 : null, `size, asked ${time}`)
        t.equal(await file.readIfPresent(0, 3), null, `absent, asked ${time}`)
        await rejection(file.read(0, 3), 'a read of nothing')
      }
      await file.sync()
      t.notOk(await place.stored(), 'asking creates nothing')
      await file.write(0, bytes('abc'))
      t.equal(text(await file.readIfPresent(0, 3)), 'abc', 'present after the first write')
      await file.close()
    }
  },
  {
    name: 'reads what was written',
    async run(t, { complete, immediate }, place) {
      const file = new StorageFile(place.create())
      await file.write(4, bytes('efgh'))
      t.equal(text(await file.read(0, 8)), '\0\0\0\0efgh', 'a gap reads as zero')
      await file.write(0, bytes('abcd'))
      t.equal(text(await file.read(2, 4)), 'cdef', 'a range')
      t.equal(await file.size(), complete ? 8 : null, 'size')
      await rejection(file.read(6, 3), 'a read beyond the end')
      await rejection(file.read(100, 1), 'a read far beyond the end')
      t.equal(text(await file.read(7, 1)), 'h', 'a failed read changes nothing')

      t.equal(text(file.readSync(1, 3)), immediate ? 'bcd' : null, 'read at once')
      t.equal(file.writeSync(1, bytes('BC')), immediate, 'written at once')
      t.equal(text(await file.read(0, 4)), immediate ? 'aBCd' : 'abcd')
      await file.sync()
      await file.close()
    }
  },
  {
    name: 'an empty write creates the file',
    async run(t, { persistent, complete }, place) {
      const file = new StorageFile(place.create())
      await file.write(0, bytes(''))
      t.equal(await file.size(), complete ? 0 : null)
      t.equal(await place.stored(), persistent)
      await file.close()
    }
  },
  {
    name: 'many calls at once',
    async run(t, _traits, place) {
      const file = new StorageFile(place.create())
      const letters = [...'the quick brown fox']
      await Promise.all(letters.map((letter, i) => file.write(i, bytes(letter))))
      const read = await Promise.all(letters.map((_, i) => file.read(i, 1)))
      t.equal(read.map(text).join(''), letters.join(''))
      await file.close()
    }
  },
  {
    name: 'large and small pieces, and buffers that are left alone',
    async run(t, _traits, place) {
      const file = new StorageFile(place.create())
      const whole = pattern(3 * 1024 * 1024 + 17)
      const before = b4a.from(whole)
      const cuts = [0, 1, 100, 70_000, 70_001, 1_200_000, whole.byteLength]
      const pieces = cuts.slice(1).map((end, i) => ({ at: cuts[i]!, data: whole.subarray(cuts[i]!, end) }))
      await Promise.all(pieces.map(({ at, data }) => file.write(at, data)))
      t.equal(whole.byteLength, before.byteLength, 'the buffer of the caller is still its own')
      t.ok(same(whole, before), 'and has not changed')
      whole.fill(0)
      const [all, part] = await Promise.all([file.read(0, before.byteLength), file.read(69_990, 20)])
      t.ok(same(all, before), 'everything is there')
      t.ok(same(part, before.subarray(69_990, 70_010)), 'a part across two pieces')
      all.fill(0)
      t.ok(same(await file.read(5, 50), before.subarray(5, 55)), 'what was read belongs to the reader')
      await file.close()
    }
  },
  {
    name: 'del',
    async run(t, { complete }, place) {
      const file = new StorageFile(place.create())
      await file.del(0, 10)
      t.equal(await file.size(), complete ? 0 : null, 'of nothing')
      await file.write(0, bytes('abcdefgh'))
      await file.del(8, 5)
      await file.del(100, 5)
      await file.del(200, Number.POSITIVE_INFINITY)
      t.equal(await file.size(), complete ? 8 : null, 'beyond the end does not extend the file')
      t.equal(text(await file.read(0, 8)), 'abcdefgh')
      if (!complete) {
        await file.del(2, 100)
        t.equal(text(await file.read(0, 8)), 'abcdefgh', 'is ignored')
      } else {
        await file.del(1, 2)
        t.equal(await file.size(), 8, 'in the middle keeps the size')
        t.equal(text(await file.read(3, 5)), 'defgh', 'in the middle keeps what follows')
        await file.del(3, Number.POSITIVE_INFINITY)
        t.equal(await file.size(), 3, 'an infinite range ends the file at the offset')
        await file.write(5, bytes('f'))
        t.equal(
          text(await file.read(3, 3)),
          '\0\0f',
          'what was cut off reads as zero when the file grows again'
        )
      }
      await file.close()
    }
  },
  {
    name: 'a file that exists but is too short is no absent one',
    async run(t, { name, complete }, place) {
      const file = new StorageFile(place.create())
      await file.write(0, bytes('ab'))
      if (complete) t.ok((await rejection(file.readIfPresent(0, 3), name)).code, 'rejects with a code')
      await file.close()
    }
  },
  {
    name: 'offsets and sizes that cannot be',
    async run(t, { strict }, place) {
      const file = new StorageFile(place.create())
      await file.write(0, bytes('abc'))
      if (strict) {
        for (const offset of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
          await rejection(within(file.read(offset, 1), 'read'), `read at ${offset}`)
          await rejection(within(file.write(offset, bytes('x')), 'write'), `write at ${offset}`)
        }
        for (const size of [-5, Number.NaN, 2 ** 52]) {
          await rejection(within(file.read(0, size), 'read'), `read of ${size}`)
        }
      }
      t.equal(text(await file.read(0, 3)), 'abc', 'the file is as it was')
      await within(file.close(), 'close')
    }
  },
  {
    name: 'what is stored is there again',
    async run(t, { persistent, complete }, place) {
      const file = new StorageFile(place.create())
      const writes = [0, 1, 2].map((i) => file.write(i, bytes('abc'.charAt(i))))
      const closing = file.close()
      await within(Promise.all([...writes, closing]), 'close')
      if (persistent) {
        await rejection(file.read(0, 1), 'a read after closing')
        await rejection(file.write(0, bytes('x')), 'a write after closing')
        const again = new StorageFile(place.create())
        t.equal(text(await again.read(0, 3)), 'abc', 'closing waits for what is running')
        t.equal(await again.size(), complete ? 3 : null)
        await again.write(3, bytes('d'))
        t.equal(text(await again.read(2, 2)), 'cd', 'and can go on')
        await again.close()
      }
    }
  },
  {
    name: 'close and destroy',
    async run(t, { persistent }, place) {
      const file = new StorageFile(place.create())
      await file.write(0, bytes('abc'))
      await Promise.all([within(file.close(), 'close'), within(file.close(), 'close at the same time')])
      await within(file.close(), 'close again')
      t.equal(await place.stored(), persistent, 'closing keeps the file')
      await within(file.destroy(), 'destroy')
      await within(file.destroy(), 'destroy again')
      t.notOk(await place.stored(), 'destroying removes it')

      const open = new StorageFile(place.create())
      await open.write(0, bytes('abc'))
      t.equal(await place.stored(), persistent, 'stored again')
      await within(open.destroy(), 'destroy without close')
      t.notOk(await place.stored(), 'destroying closes first')

      await within(new StorageFile(place.create()).close(), 'close of an unused file')
      await within(new StorageFile(place.create()).destroy(), 'destroy of an absent file')
    }
  }
]
