/** The protobuf wire form itself: fields of a message with their exact extent, and varints. Content is a view. */

import { MessageReader } from "./reader.ts";

export const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

export interface WireField {
  readonly field: number;
  readonly wireType: number;
  /** The whole field, tag included. */
  readonly bytes: Uint8Array;
  /** The value: without tag and length. */
  readonly content: Uint8Array;
}

/** Fields of a message in file order. @throws Error where the bytes are no message. */
export function* fieldsOf(message: Uint8Array): Generator<WireField, undefined> {
  const reader = new MessageReader(message);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.tag();
    const wireType = tag & 7;
    let content = reader.pos;
    if (wireType === wireTypes.bytes) {
      const size = reader.size();
      content = reader.pos;
      reader.skip(size);
    } else {
      reader.skipType(wireType, 0, tag >>> 3);
    }
    yield {
      field: tag >>> 3,
      wireType,
      bytes: message.subarray(start, reader.pos),
      content: message.subarray(content, reader.pos),
    };
  }
  return undefined;
}

/** Calls `visit` with the unsigned halves of each packed varint; false where the last one is cut off or too long. */
export function eachVarint(bytes: Uint8Array, visit: (low: number, high: number) => void): boolean {
  let at = 0;
  while (at < bytes.length) {
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63) return false;
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 15) << 28;
        high |= (byte & 127) >>> 4;
      } else high |= (byte & 127) << (shift - 32);
      if (byte < 128) break;
    }
    visit(low >>> 0, high >>> 0);
  }
  return true;
}

/** Appends a varint given as unsigned halves. */
export function pushVarint(out: number[], low: number, high = 0): void {
  let lo = low >>> 0;
  let hi = high >>> 0;
  while (hi > 0 || lo > 127) {
    out.push((lo & 127) | 128);
    lo = ((lo >>> 7) | (hi << 25)) >>> 0;
    hi >>>= 7;
  }
  out.push(lo);
}

/**
 * The message with the content of some fields replaced; all other bytes stay as they are. `edit` returns the new
 * content in pieces, or undefined to leave the field. Returns undefined where nothing was replaced.
 */
export function rewriteMessage(message: Uint8Array, edit: (field: WireField) => readonly Uint8Array[] | undefined): Uint8Array[] | undefined {
  const pieces: Uint8Array[] = [];
  let kept = 0;
  let at = 0;
  for (const field of fieldsOf(message)) {
    const { bytes, content, wireType } = field;
    const fresh = edit(field);
    if (fresh !== undefined) {
      const size = fresh.reduce((sum, piece) => sum + piece.length, 0);
      const sameHead = wireType !== wireTypes.bytes || size === content.length;
      if (sameHead) pieces.push(message.subarray(kept, at + bytes.length - content.length));
      else {
        const head: number[] = [];
        pushVarint(head, (field.field << 3) | wireType);
        pushVarint(head, size);
        pieces.push(message.subarray(kept, at), Uint8Array.from(head));
      }
      pieces.push(...fresh);
      kept = at + bytes.length;
    }
    at += bytes.length;
  }
  if (pieces.length === 0) return undefined;
  if (kept < message.length) pieces.push(message.subarray(kept));
  return pieces;
}
