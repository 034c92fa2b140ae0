/**
 * What a page of the `bitfield` file holds (spec FORMAT §5.1): three bitfields.
 *
 * ```
 * bytes 0 … 1023      data bits    blocks 8192·p … 8192·p + 8191
 * bytes 1024 … 3071   tree bits    tree indexes 16384·p … 16384·p + 16383
 * bytes 3072 … end    index bytes  512 (page size 3584) or 256 (page size 3328)
 * ```
 *
 * The bit logic (`Bitfield`, `TreeBits`) keeps no state of its own: all of it is behind {@link PageAccess}, so
 * that the same logic runs over the committed pages and over a stage of them, and does not know where they come from.
 */

/** Bytes of a page in files made today. */
export const PAGE_SIZE = 3584

/** Bytes of a page in files of older versions; the page size of an existing file is kept for good. */
export const LEGACY_PAGE_SIZE = 3328

/** Bytes of data bits at the start of a page. */
export const DATA_BYTES = 1024

/** Bytes of tree bits in a page, after the data bits. */
export const TREE_BYTES = 2048

/** Where the index bytes of a page start; they reach to its end. */
export const INDEX_OFFSET = DATA_BYTES + TREE_BYTES

/** Blocks of which a page holds the data bits. */
export const PAGE_BLOCKS = 8 * DATA_BYTES

/** Tree indexes of which a page holds the bits. */
export const PAGE_TREE_INDEXES = 8 * TREE_BYTES

/** What the bit logic needs of pages. */
export interface PageAccess {
  /** Bytes of a page. */
  readonly pageSize: number
  /** One more than the highest page ever touched; after loading, the number of pages in the file. */
  readonly length: number
  /** One more than the highest data byte that ever changed; after loading `length · 1024`. Only ever raised. */
  dataBytes: number
  /** One more than the highest tree byte that ever changed; after loading `length · 2048`. Only ever raised. */
  treeBytes: number
  /**
   * The content of a page, null if it has no bits. Not to be changed, and not to be kept across a write. Its index bytes may not be
   * here yet, and be zero: they are of use only to who changes them, see {@link whole}.
   */
  read(page: number): Uint8Array | null
  /** As {@link read}, with the index bytes. Errors: `ERR_STORAGE` if they have to be read first and cannot be. */
  whole(page: number): Uint8Array | null
  /**
   * The content of a page for the caller to change at once, between the bytes `from` and `to` − 1 and on one side of the borders of its
   * three bitfields; from now on the page counts as changed. It may have bits that {@link read} did not show: of somebody else, in a page
   * that comes from the file only now. Errors: as {@link whole}.
   */
  write(page: number, from: number, to: number): Uint8Array
  /** Raises `length` to include `page`, without allocating it. */
  touch(page: number): void
}

/**
 * Pages of a chunk, a power of two: what comes from a {@link PageSource} at a time. A chunk with one page only should not take much more
 * memory than that page when it is packed.
 */
export const CHUNK_PAGES = 32

/** Where pages come from that are not kept in memory before somebody needs them, and are dropped again. */
export interface PageSource {
  /** Pages that have bits here; those behind have none. */
  readonly count: number
  /** Pages in the file. */
  readonly stored: number
  /**
   * The bits of the pages {@link CHUNK_PAGES} · `chunk` …, as many as there are, {@link INDEX_OFFSET} bytes each, one behind the
   * other; null if none has any. Good until the next call.
   */
  bitsOf(chunk: number): Uint8Array | null
  /** The same, run length encoded; no bytes for no bits. Null if that is not at hand. */
  encodedBitsOf(chunk: number): Uint8Array | null
  /** A page as it is in the file, padded with zeros; null if there is no file. Errors: `ERR_STORAGE`. */
  storedPage(page: number): Uint8Array | null
  /**
   * Whether the file has these bits for certain, so that others in it are damage. Otherwise somebody else may have set them there, and
   * a page that is going to be written keeps those of both.
   */
  readonly exact: boolean
}
