/**
 * The numbers that a one-channel PNG stores, fast: masks are read beside every training step. Inflated and checked by
 * the platform's zlib; the filters are those of the PNG specification, third edition, section 9.
 */

import { crc32, inflateSync } from "node:zlib";
import type { Colour } from "../attach/colours.ts";

export interface PngIndices {
  /** One sample per pixel, of 8 bits or fewer. */
  readonly samples: Uint8Array;
  readonly palette: readonly Colour[] | null;
}

/**
 * @returns undefined for a file of another kind: more channels, 16 bits, interlaced
 * @throws Error saying what is damaged
 */
export function pngIndices(bytes: Uint8Array): PngIndices | undefined {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [header.getUint32(16), header.getUint32(20)];
  const [depth = 0, colourType = 0, , , interlaced = 0] = bytes.subarray(24, 29);
  if ((colourType !== 0 && colourType !== 3) || ![1, 2, 4, 8].includes(depth) || interlaced !== 0) return undefined;
  const { data, palette } = readChunks(bytes, header);
  const rowBytes = Math.ceil((width * depth) / 8);
  const length = (rowBytes + 1) * height;
  const raw = inflateSync(data, { maxOutputLength: length + 1 });
  if (raw.length !== length) throw new Error(`${raw.length} bytes of pixels instead of ${length}`);
  const rows = unfiltered(raw, rowBytes, height);
  return { samples: depth === 8 ? rows : unpacked(rows, rowBytes, depth, width, height), palette };
}

function readChunks(bytes: Uint8Array, view: DataView): { data: Uint8Array; palette: readonly Colour[] | null } {
  const parts: Uint8Array[] = [];
  let palette: readonly Colour[] | null = null;
  for (let at = 8; ; ) {
    if (at + 12 > bytes.length) throw new Error("it ends before its end chunk");
    const length = view.getUint32(at);
    const end = at + 8 + length;
    if (end + 4 > bytes.length) throw new Error("it ends within a chunk");
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error(`the CRC of chunk ${name} is wrong`);
    const content = bytes.subarray(at + 8, end);
    if (name === "IDAT") parts.push(content);
    else if (name === "PLTE") palette = Array.from({ length: Math.floor(length / 3) }, (_, i) => [...content.subarray(i * 3, i * 3 + 3)] as unknown as Colour);
    else if (name === "IEND") return { data: parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), palette };
    at = end + 4;
  }
}

/** A pixel is at most one byte, so the byte to the left is the one before. */
function unfiltered(raw: Uint8Array, rowBytes: number, height: number): Uint8Array {
  const rows = new Uint8Array(rowBytes * height);
  let above = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const start = y * (rowBytes + 1);
    const row = rows.subarray(y * rowBytes, (y + 1) * rowBytes);
    row.set(raw.subarray(start + 1, start + 1 + rowBytes));
    unfilterRow(raw[start] as number, row, above);
    above = row;
  }
  return rows;
}

function unfilterRow(filter: number, row: Uint8Array, above: Uint8Array): void {
  switch (filter) {
    case 0:
      return;
    case 1:
      for (let i = 1; i < row.length; i++) row[i] = (row[i] as number) + (row[i - 1] as number);
      return;
    case 2:
      for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) + (above[i] as number);
      return;
    case 3:
      for (let i = 0, left = 0; i < row.length; i++) {
        row[i] = (row[i] as number) + ((left + (above[i] as number)) >> 1);
        left = row[i] as number;
      }
      return;
    case 4:
      for (let i = 0, left = 0, corner = 0; i < row.length; i++) {
        const up = above[i] as number;
        row[i] = (row[i] as number) + paeth(left, up, corner);
        [left, corner] = [row[i] as number, up];
      }
      return;
    default:
      throw new Error(`a row has the filter ${filter}`);
  }
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function unpacked(rows: Uint8Array, rowBytes: number, depth: number, width: number, height: number): Uint8Array {
  const samples = new Uint8Array(width * height);
  const limit = 2 ** depth - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      samples[y * width + x] = ((rows[y * rowBytes + (bit >> 3)] as number) >> (8 - depth - (bit & 7))) & limit;
    }
  }
  return samples;
}
