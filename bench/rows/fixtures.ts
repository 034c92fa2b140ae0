import type { Fixture } from '../harness/row.ts'

/** 512 B blocks: first gets, streams, proofs, remote gets, and the source of blocks to put. */
export const smallBlocks: Fixture = {
  name: 'blocks-512',
  blockSize: 512,
  blocks: 200_000,
  smokeBlocks: 8_000
}

/** 512 B blocks: repeated gets, whole copies. */
export const someSmallBlocks: Fixture = {
  name: 'some-512',
  blockSize: 512,
  blocks: 20_000,
  smokeBlocks: 2_000
}

/** 16 KB blocks: gets. */
export const mediumBlocks: Fixture = {
  name: 'blocks-16k',
  blockSize: 16 * 1024,
  blocks: 10_000,
  smokeBlocks: 1_000
}

/** 16 KB blocks for rows that read all of them each time: audit, whole copies. */
export const copiedBlocks: Fixture = {
  name: 'copied-16k',
  blockSize: 16 * 1024,
  blocks: 4_096,
  smokeBlocks: 128
}

/** 64 KB blocks: batched gets, whole copies. */
export const largeBlocks: Fixture = {
  name: 'blocks-64k',
  blockSize: 64 * 1024,
  blocks: 2_048,
  smokeBlocks: 384
}

/** A long feed of tiny blocks: opening. */
export const manyBlocks: Fixture = {
  name: 'blocks-1m',
  blockSize: 8,
  blocks: 1_000_000,
  smokeBlocks: 20_000
}
