/**
 * The numbers that a one-channel PNG stores. Masks are read beside every training step, and a damaged one must not train:
 * the general decoder is slower, takes files whose pixels end early, and no interlaced ones of fewer than 8 bits.
 * Inflated and checked by the platform's zlib; the filters are those of the PNG specification, third edition, section 9.
 */

import { crc32, inflateSync } from "node:zlib";
import type { Colour } from "../attach/colours.ts";

export interface PngIndices {
  /** One sample per pixel, of 8 bits or fewer. */
  readonly samples: Uint8Array;
  readonly palette: readonly Colour[] | null;
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly interlaced: boolean;
}

/** The pixels of a file that are stored together: every `dx`-th from column `x`, every `dy`-th from row `y`. */
interface Pass {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

const whole: Pass = { x: 0, y: 0, dx: 1, dy: 1 };

/** Section 8.1 of the specification. */
const adam7: readonly Pass[] = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];

/**
 * @param bytes at least 29, a PNG's signature first
 * @returns undefined for a file of another kind: more channels or 16 bits
 * @throws Error saying what is damaged
 */
export function pngIndices(bytes: Uint8Array): PngIndices | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [depth = 0, colourType = 0] = bytes.subarray(24, 26);
  if ((colourType !== 0 && colourType !== 3) || depth === 16) return undefined;
  const { data, palette } = readChunks(bytes, view);
  const header = readHeader(bytes, view);
  if (colourType === 3 && palette === null) throw new Error("it has no palette");
  const passes = (header.interlaced ? adam7 : [whole]).filter(({ x, y }) => x < header.width && y < header.height);
  return { samples: readPasses(inflated(data, passes, header), passes, header), palette };
}

/** Its checksum has been looked at. */
function readHeader(bytes: Uint8Array, view: DataView): Header {
  const [depth = 0, , compression, filtering, interlacing = 0] = bytes.subarray(24, 29);
  if (![1, 2, 4, 8].includes(depth)) throw new Error(`${depth} bits per pixel`);
  if (compression !== 0 || filtering !== 0) throw new Error(`compression ${compression} and filtering ${filtering}, which are unknown`);
  if (interlacing > 1) throw new Error(`interlacing ${interlacing}, which is unknown`);
  return { width: view.getUint32(16), height: view.getUint32(20), depth, interlaced: interlacing === 1 };
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
    if (at === 8 && (name !== "IHDR" || length !== 13)) throw new Error("it does not begin with its header");
    if (crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error(`the CRC of chunk ${name} is wrong`);
    const content = bytes.subarray(at + 8, end);
    if (name === "IDAT") parts.push(content);
    else if (name === "PLTE") palette = readPalette(content);
    else if (name === "IEND") return { data: parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), palette };
    at = end + 4;
  }
}

function readPalette(content: Uint8Array): Colour[] {
  const { length } = content;
  if (length === 0 || length > 768 || length % 3 !== 0) throw new Error(`a palette of ${length} bytes`);
  const at = (i: number): number => content[i] as number;
  return Array.from({ length: length / 3 }, (_, i) => [at(i * 3), at(i * 3 + 1), at(i * 3 + 2)] as const);
}

/** Columns, rows and bytes per row of a pass. */
function sizeOf({ x, y, dx, dy }: Pass, { width, height, depth }: Header): { readonly across: number; readonly down: number; readonly rowBytes: number } {
  const across = Math.ceil((width - x) / dx);
  return { across, down: Math.ceil((height - y) / dy), rowBytes: Math.ceil((across * depth) / 8) };
}

/** Every row begins with the number of its filter. */
function inflated(data: Uint8Array, passes: readonly Pass[], header: Header): Uint8Array {
  const sizes = passes.map((pass) => sizeOf(pass, header));
  const length = sizes.reduce((total, { down, rowBytes }) => total + down * (rowBytes + 1), 0);
  const raw = inflatedUpTo(data, length, header);
  if (raw.length !== length) throw new Error(`${raw.length} bytes of pixels instead of ${length}`);
  return raw;
}

function inflatedUpTo(data: Uint8Array, length: number, { width, height }: Header): Uint8Array {
  try {
    return inflateSync(data, { maxOutputLength: length });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_BUFFER_TOO_LARGE") throw cause;
    throw new Error(`it has more pixels than ${width} × ${height}`);
  }
}

function readPasses(raw: Uint8Array, passes: readonly Pass[], header: Header): Uint8Array {
  const { width, height, depth, interlaced } = header;
  const samples = new Uint8Array(interlaced ? width * height : 0);
  let at = 0;
  for (const pass of passes) {
    const { across, down, rowBytes } = sizeOf(pass, header);
    const rows = unfiltered(raw.subarray(at, at + down * (rowBytes + 1)), rowBytes, down);
    const values = depth === 8 ? rows : unpacked(rows, rowBytes, depth, across, down);
    if (!interlaced) return values;
    for (let i = 0; i < values.length; i++) {
      samples[(pass.y + Math.floor(i / across) * pass.dy) * width + pass.x + (i % across) * pass.dx] = values[i] as number;
    }
    at += down * (rowBytes + 1);
  }
  return samples;
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
