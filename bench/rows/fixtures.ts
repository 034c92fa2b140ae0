import type { Fixture } from '../harness/row.ts'

/** 512 B blocks: first gets, streams, proofs, and the source of copies. */
export const smallBlocks: Fixture = {
  name: 'blocks-512',
  blockSize: 512,
  blocks: 200_000,
  smokeBlocks: 8_000
}

/** 512 B blocks: repeated gets. */
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

/** 16 KB blocks for the audit, which reads all of them each time. */
export const auditedBlocks: Fixture = {
  name: 'audited-16k',
  blockSize: 16 * 1024,
  blocks: 4_096,
  smokeBlocks: 128
}

/** 64 KB blocks: batched gets. */
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
