/**
 * The messages of the protocol (spec WIRE §7): what each holds, and its encoding. Sent fields are written in the order of
 * their numbers and whenever the sender gave a value, even the default; received messages have every field filled in.
 */

import { CAPABILITY_SIZE } from '../crypto/capability.ts'
import { KEY_SIZE, SIGNATURE_SIZE } from '../crypto/keys.ts'
import { argumentTypeError, DDatabaseError } from '../errors.ts'
import { HASH_SIZE, type TreeNode } from '../merkle/node.ts'
import { isBytes } from '../util/bytes.ts'
import { isGiven } from '../util/given.ts'
import type { ReplicationLimits } from './limits.ts'
import {
  BOOL_FIELD_SIZE,
  bytesFieldSize,
  FieldReader,
  stringFieldSize,
  uintFieldSize,
  varintSize,
  writeBoolField,
  writeBytesField,
  writeNested,
  writeStringField,
  writeUintField
} from './protobuf.ts'

/** Opens a channel. */
export interface OpenMessage {
  discoveryKey: Uint8Array
  /** Absent without noise. */
  capability: Uint8Array | null
}

/** Names of the sender's extensions, sorted, and whether it wants acknowledgements. */
export interface OptionsMessage {
  /** Names, sorted. */
  extensions: string[]
  /** Whether received blocks shall be acknowledged. */
  ack: boolean
}

/** What the sender does on this channel. */
export interface StatusMessage {
  /** Whether requests are answered. */
  uploading: boolean
  /** Whether there will be requests. */
  downloading: boolean
  /** Wants new blocks to be sent without being asked for (docs/protocol.md, "Following"). Missing: false. */
  following?: boolean
}

/** Blocks the sender has: `length` from `start` on, or those of the run length encoded `bitfield`. */
export interface HaveMessage {
  /** First block. */
  start: number
  /** Number of blocks. */
  length: number
  /** Which of them; null: all. */
  bitfield: Uint8Array | null
  /** Acknowledges a received block. */
  ack: boolean
}

/** A range of blocks: those the sender lost (Unhave), or wants to hear about (Want) or not any more (Unwant). */
export interface RangeMessage {
  /** First block. */
  start: number
  /** Number of blocks. */
  length: number
}

/** Asks for a block, or for its hash only. */
export interface RequestMessage {
  /** The block. */
  index: number
  /** Not 0: asks for the block with this byte instead. */
  bytes: number
  /** Only the hash. */
  hash: boolean
  /** Digest of the nodes the sender has, WIRE §9.2. */
  nodes: number
}

/** Takes a request back. */
export interface CancelMessage {
  /** As in the request. */
  index: number
  /** As in the request. */
  bytes: number
  /** As in the request. */
  hash: boolean
}

/** A block, or its hash only, with its proof. */
export interface DataMessage {
  /** The block. */
  index: number
  /** Null: hash only. An empty block has 0 bytes. */
  value: Uint8Array | null
  /** Nodes of the proof. */
  nodes: TreeNode[]
  /** Signature of the proof; null if it needs none. */
  signature: Uint8Array | null
}

/** Closes the channel it comes on, or refuses the feed with this discovery key. */
export interface CloseMessage {
  discoveryKey: Uint8Array | null
}

/** A message to be sent: fields outside `Required` may be missing, then they are not written. */
export type Sent<Message, Required extends keyof Message = never> = {
  [Name in Required]: Message[Name]
} & {
  [Name in Exclude<keyof Message, Required>]?:
    | (Message[Name] extends boolean ? boolean | number : Message[Name])
    | null
    | undefined
}

/** What is sent of each type. */
export type SentOpen = Sent<OpenMessage, 'discoveryKey'>
export type SentOptions = Sent<OptionsMessage>
export type SentStatus = Sent<StatusMessage>
export type SentHave = Sent<HaveMessage, 'start'>
export type SentRange = Sent<RangeMessage, 'start'>
export type SentRequest = Sent<RequestMessage, 'index'>
export type SentCancel = Sent<CancelMessage, 'index'>
export type SentData = Sent<DataMessage, 'index'>
export type SentClose = Sent<CloseMessage>

/** Encoding of one message type. */
export interface MessageCodec<Sent, Received> {
  /** Bytes of the encoded message. Checks every field, so that `write` cannot fail; throws TypeErrors and RangeErrors. */
  size(message: Sent): number
  /** Writes the message at `offset` of `target` and returns the offset behind it. */
  write(message: Sent, target: Uint8Array, offset: number): number
  /**
   * Decodes a whole body: bytes `from` … `to` − 1 of `source`, by default all. Byte fields are views.
   * Throws DDatabaseErrors only: `ERR_MESSAGE_INVALID`, `ERR_MESSAGE_MALFORMED`, `ERR_LIMIT`.
   */
  read(source: Uint8Array, limits: ReplicationLimits, from?: number, to?: number): Received
}

// Decoding is synchronous and never nested but for the nodes of Data, so one reader for each depth suffices.
const reader = new FieldReader()
const nodeReader = new FieldReader()

function required(): DDatabaseError {
  return new DDatabaseError('ERR_MESSAGE_INVALID')
}

/** Type 0. */
export const openCodec: MessageCodec<SentOpen, OpenMessage> = {
  size(message) {
    let size = bytesFieldSize('discoveryKey', message.discoveryKey, KEY_SIZE)
    if (isGiven(message.capability)) size += bytesFieldSize('capability', message.capability, CAPABILITY_SIZE)
    return size
  },
  write(message, target, offset) {
    let end = writeBytesField(target, offset, 1, message.discoveryKey)
    if (isGiven(message.capability)) end = writeBytesField(target, end, 2, message.capability)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let discoveryKey: Uint8Array | null = null
    let capability: Uint8Array | null = null
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) discoveryKey = reader.bytes(KEY_SIZE)
      else if (reader.field === 2) capability = reader.bytes(CAPABILITY_SIZE)
      else reader.skip()
    }
    if (discoveryKey === null) throw required()
    return { discoveryKey, capability }
  }
}

/** Type 1. */
export const optionsCodec: MessageCodec<SentOptions, OptionsMessage> = {
  size(message) {
    let size = isGiven(message.ack) ? BOOL_FIELD_SIZE : 0
    if (isGiven(message.extensions)) {
      checkList('extensions', message.extensions)
      for (const name of message.extensions) size += stringFieldSize(name)
    }
    return size
  },
  write(message, target, offset) {
    let end = offset
    if (isGiven(message.extensions)) {
      for (const name of message.extensions) end = writeStringField(target, end, 1, name)
    }
    if (isGiven(message.ack)) end = writeBoolField(target, end, 2, message.ack)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    const extensions: string[] = []
    let ack = false
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) {
        if (extensions.length === limits.extensions) {
          throw new DDatabaseError('ERR_LIMIT', { message: 'The remote has more extensions than allowed' })
        }
        extensions.push(reader.string(limits.extensionNameSize))
      } else if (reader.field === 2) ack = reader.bool()
      else reader.skip()
    }
    return { extensions, ack }
  }
}

/** Type 2. */
export const statusCodec: MessageCodec<SentStatus, StatusMessage> = {
  size({ uploading, downloading, following }) {
    return [uploading, downloading, following].filter(isGiven).length * BOOL_FIELD_SIZE
  },
  write(message, target, offset) {
    let end = offset
    if (isGiven(message.uploading)) end = writeBoolField(target, end, 1, message.uploading)
    if (isGiven(message.downloading)) end = writeBoolField(target, end, 2, message.downloading)
    if (isGiven(message.following)) end = writeBoolField(target, end, 3, message.following)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let uploading = false
    let downloading = false
    let following = false
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) uploading = reader.bool()
      else if (reader.field === 2) downloading = reader.bool()
      else if (reader.field === 3) following = reader.bool()
      else reader.skip()
    }
    return following ? { uploading, downloading, following } : { uploading, downloading }
  }
}

/** Type 3. */
export const haveCodec: MessageCodec<SentHave, HaveMessage> = {
  size(message) {
    let size = uintFieldSize('start', message.start)
    if (isGiven(message.length)) size += uintFieldSize('length', message.length)
    if (isGiven(message.bitfield)) size += bytesFieldSize('bitfield', message.bitfield)
    if (isGiven(message.ack)) size += BOOL_FIELD_SIZE
    return size
  },
  write(message, target, offset) {
    let end = writeUintField(target, offset, 1, message.start)
    if (isGiven(message.length)) end = writeUintField(target, end, 2, message.length)
    if (isGiven(message.bitfield)) end = writeBytesField(target, end, 3, message.bitfield)
    if (isGiven(message.ack)) end = writeBoolField(target, end, 4, message.ack)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let start = -1
    let length = 1
    let bitfield: Uint8Array | null = null
    let ack = false
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) start = reader.uint()
      else if (reader.field === 2) length = reader.uint()
      else if (reader.field === 3) bitfield = reader.bytes()
      else if (reader.field === 4) ack = reader.bool()
      else reader.skip()
    }
    if (start === -1) throw required()
    return { start, length, bitfield, ack }
  }
}

function rangeCodec(defaultLength: number): MessageCodec<SentRange, RangeMessage> {
  return {
    size(message) {
      const size = uintFieldSize('start', message.start)
      return isGiven(message.length) ? size + uintFieldSize('length', message.length) : size
    },
    write(message, target, offset) {
      const end = writeUintField(target, offset, 1, message.start)
      return isGiven(message.length) ? writeUintField(target, end, 2, message.length) : end
    },
    read(source, limits, from = 0, to = source.length) {
      let start = -1
      let length = defaultLength
      reader.begin(source, from, to, limits.messageFields)
      while (reader.next()) {
        if (reader.field === 1) start = reader.uint()
        else if (reader.field === 2) length = reader.uint()
        else reader.skip()
      }
      if (start === -1) throw required()
      return { start, length }
    }
  }
}

/** Type 4. */
export const unhaveCodec: MessageCodec<SentRange, RangeMessage> = rangeCodec(1)
/** Type 5. */
export const wantCodec: MessageCodec<SentRange, RangeMessage> = rangeCodec(0)
/** Type 6. */
export const unwantCodec: MessageCodec<SentRange, RangeMessage> = rangeCodec(0)

/** Type 7. */
export const requestCodec: MessageCodec<SentRequest, RequestMessage> = {
  size(message) {
    let size = cancelCodec.size(message)
    if (isGiven(message.nodes)) size += uintFieldSize('nodes', message.nodes)
    return size
  },
  write(message, target, offset) {
    const end = cancelCodec.write(message, target, offset)
    return isGiven(message.nodes) ? writeUintField(target, end, 4, message.nodes) : end
  },
  read(source, limits, from = 0, to = source.length) {
    let index = -1
    let bytes = 0
    let hash = false
    let nodes = 0
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) index = reader.uint()
      else if (reader.field === 2) bytes = reader.uint()
      else if (reader.field === 3) hash = reader.bool()
      else if (reader.field === 4) nodes = reader.uint()
      else reader.skip()
    }
    if (index === -1) throw required()
    return { index, bytes, hash, nodes }
  }
}

/** Type 8. */
export const cancelCodec: MessageCodec<SentCancel, CancelMessage> = {
  size(message) {
    let size = uintFieldSize('index', message.index)
    if (isGiven(message.bytes)) size += uintFieldSize('bytes', message.bytes)
    if (isGiven(message.hash)) size += BOOL_FIELD_SIZE
    return size
  },
  write(message, target, offset) {
    let end = writeUintField(target, offset, 1, message.index)
    if (isGiven(message.bytes)) end = writeUintField(target, end, 2, message.bytes)
    if (isGiven(message.hash)) end = writeBoolField(target, end, 3, message.hash)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let index = -1
    let bytes = 0
    let hash = false
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) index = reader.uint()
      else if (reader.field === 2) bytes = reader.uint()
      else if (reader.field === 3) hash = reader.bool()
      else reader.skip()
    }
    if (index === -1) throw required()
    return { index, bytes, hash }
  }
}

function checkList(name: string, value: unknown): void {
  if (!Array.isArray(value)) throw argumentTypeError(`${name} must be an array`)
}

const NODE_HASH_FIELD_SIZE = 2 + HASH_SIZE

function nodeSize(node: TreeNode): number {
  if (!(isBytes(node?.hash) && node.hash.length === HASH_SIZE)) {
    bytesFieldSize('hash', node?.hash, HASH_SIZE)
  }
  return uintFieldSize('index', node.index) + NODE_HASH_FIELD_SIZE + uintFieldSize('size', node.size)
}

function readNode(limits: ReplicationLimits): TreeNode {
  let index = -1
  let hash: Uint8Array | null = null
  let size = -1
  reader.nested(nodeReader, limits.messageFields)
  while (nodeReader.next()) {
    if (nodeReader.field === 1) index = nodeReader.uint()
    else if (nodeReader.field === 2) hash = nodeReader.bytes(HASH_SIZE)
    else if (nodeReader.field === 3) size = nodeReader.uint()
    else nodeReader.skip()
  }
  if (index === -1 || hash === null || size === -1) throw required()
  return { index, hash, size }
}

/** Type 9. */
export const dataCodec: MessageCodec<SentData, DataMessage> = {
  size(message) {
    let size = uintFieldSize('index', message.index)
    if (isGiven(message.value)) size += bytesFieldSize('value', message.value)
    if (isGiven(message.nodes)) {
      checkList('nodes', message.nodes)
      for (const node of message.nodes) {
        const length = nodeSize(node)
        size += 1 + varintSize(length) + length
      }
    }
    if (isGiven(message.signature)) size += bytesFieldSize('signature', message.signature, SIGNATURE_SIZE)
    return size
  },
  write(message, target, offset) {
    let end = writeUintField(target, offset, 1, message.index)
    if (isGiven(message.value)) end = writeBytesField(target, end, 2, message.value)
    if (isGiven(message.nodes)) {
      for (const node of message.nodes) {
        end = writeNested(target, end, 3, nodeSize(node))
        end = writeUintField(target, end, 1, node.index)
        end = writeBytesField(target, end, 2, node.hash)
        end = writeUintField(target, end, 3, node.size)
      }
    }
    if (isGiven(message.signature)) end = writeBytesField(target, end, 4, message.signature)
    return end
  },
  read(source, limits, from = 0, to = source.length) {
    let index = -1
    let value: Uint8Array | null = null
    let signature: Uint8Array | null = null
    const nodes: TreeNode[] = []
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) index = reader.uint()
      else if (reader.field === 2) value = reader.bytes()
      else if (reader.field === 3) {
        if (nodes.length === limits.proofNodes) {
          throw new DDatabaseError('ERR_LIMIT', { message: 'The proof has more nodes than allowed' })
        }
        nodes.push(readNode(limits))
      } else if (reader.field === 4) signature = reader.bytes(SIGNATURE_SIZE)
      else reader.skip()
    }
    if (index === -1) throw required()
    return { index, value, nodes, signature }
  }
}

/** Type 10. */
export const closeCodec: MessageCodec<SentClose, CloseMessage> = {
  size(message) {
    return isGiven(message.discoveryKey) ? bytesFieldSize('discoveryKey', message.discoveryKey, KEY_SIZE) : 0
  },
  write(message, target, offset) {
    return isGiven(message.discoveryKey) ? writeBytesField(target, offset, 1, message.discoveryKey) : offset
  },
  read(source, limits, from = 0, to = source.length) {
    let discoveryKey: Uint8Array | null = null
    reader.begin(source, from, to, limits.messageFields)
    while (reader.next()) {
      if (reader.field === 1) discoveryKey = reader.bytes(KEY_SIZE)
      else reader.skip()
    }
    return { discoveryKey }
  }
}
