/**
 * Masks from file bytes: a PNG keeps the numbers that the file stores, palette indices or grey values, which are the
 * classes. Pictures in colours are left to a decoder of the platform.
 */

import { type DecodedPng, decode, encode } from "fast-png";
import type { Colour } from "../attach/colours.ts";
import { OhemgenError } from "../support/errors.ts";

/** Interleaved RGB. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly labels: Uint8Array | Uint16Array | Int32Array;
}

/** What a mask file holds before it is known what its numbers or colours mean. */
export type RawMask =
  | {
      readonly kind: "numbers";
      readonly width: number;
      readonly height: number;
      readonly labels: Uint8Array | Uint16Array;
      readonly palette: readonly Colour[] | null;
    }
  | { readonly kind: "colours"; readonly width: number; readonly height: number; readonly rgb: Uint8Array };

/** Larger pictures are taken for damaged files. */
export const pixelLimit = 2 ** 28;

/** @throws OhemgenError E412 naming `path` where the bytes are no picture that can be read. */
export function checkPicture(bytes: Uint8Array, path: string): void {
  const format = formatOf(bytes);
  if (format !== "PNG" && format !== "JPEG" && format !== "WebP") foreign(path, "a PNG, JPEG or WebP", format);
  if (format === "PNG") checkPngSize(bytes, path);
}

/** What a platform brings for PNG files. */
export interface MaskDecoders {
  /** Decodes a PNG in colours. */
  readonly rgb: (bytes: Uint8Array, path: string) => Promise<Picture>;
  /** The numbers of a PNG of one channel of up to 8 bits; `undefined` for others. @throws Error saying what is damaged */
  readonly indices?: (bytes: Uint8Array) => { readonly samples: Uint8Array; readonly palette: readonly Colour[] | null } | undefined;
}

/** @throws OhemgenError E412 naming `path`. */
export async function rawMaskOf(bytes: Uint8Array, path: string, decoders: MaskDecoders): Promise<RawMask> {
  const format = formatOf(bytes);
  if (format !== "PNG") return foreign(path, "a PNG", format);
  checkPngSize(bytes, path);
  // Byte 25 of the header: 2 and 6 are RGB without and with alpha.
  if ((bytes[25] as number) % 4 === 2) {
    const picture = await decoders.rgb(bytes, path);
    return greyOf(picture) ?? { kind: "colours", ...picture };
  }
  const indices = readingPng(path, () => decoders.indices?.(bytes));
  if (indices !== undefined) {
    const [width, height] = pngSize(bytes);
    return { kind: "numbers", width, height, labels: indices.samples, palette: indices.palette };
  }
  const png = readingPng(path, () => decode(bytes, { checkCrc: true }));
  const { width, height, channels } = png;
  const samples = unpackedSamples(png);
  const palette = png.palette?.map(([red = 0, green = 0, blue = 0]) => [red, green, blue] as const) ?? null;
  const labels = channels === 1 ? samples : samples.filter((_, i) => i % channels === 0);
  return { kind: "numbers", width, height, labels, palette };
}

/** Some tools save grey masks as RGB; different channels are colours. */
function greyOf({ width, height, rgb }: Picture): RawMask | undefined {
  const labels = new Uint8Array(width * height);
  for (let pixel = 0; pixel < labels.length; pixel++) {
    const value = rgb[pixel * 3] as number;
    if (rgb[pixel * 3 + 1] !== value || rgb[pixel * 3 + 2] !== value) return undefined;
    labels[pixel] = value;
  }
  return { kind: "numbers", width, height, labels, palette: null };
}

/** A mask of class numbers. @throws OhemgenError E412 naming `path` where it holds colours instead. */
export function numbersOf(mask: RawMask, path: string): Mask {
  if (mask.kind === "numbers") return { width: mask.width, height: mask.height, labels: mask.labels };
  throw new OhemgenError(`${path} is a picture in colours, not a mask of class numbers`, {
    code: "E412",
    where: path,
    hint: "Say what the colours mean with --label-map, or save masks as palette or greyscale PNG whose pixel value is the class.",
  });
}

function readingPng<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    return damaged(path, cause instanceof Error ? cause.message : String(cause));
  }
}

function pngSize(bytes: Uint8Array): readonly [width: number, height: number] {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [header.getUint32(16), header.getUint32(20)];
}

function checkPngSize(bytes: Uint8Array, path: string): void {
  if (bytes.length < 33) damaged(path, "it ends within its header");
  const [width, height] = pngSize(bytes);
  if (width * height === 0 || width * height > pixelLimit) damaged(path, `a size of ${width} × ${height} pixels`);
}

function formatOf(bytes: Uint8Array): string | undefined {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (start.startsWith("\xff\xd8\xff")) return "JPEG";
  if (start.startsWith("RIFF") && start.endsWith("WEBP")) return "WebP";
  if (start.startsWith("GIF8")) return "GIF";
  if (start.startsWith("BM")) return "BMP";
  if (start.startsWith("II*\0") || start.startsWith("MM\0*")) return "TIFF";
  return bytes.length === 0 ? "" : undefined;
}

function foreign(path: string, wanted: string, format: string | undefined): never {
  const found = format === undefined ? "" : format === "" ? " (it is empty)" : ` (a ${format})`;
  throw new OhemgenError(`${path} is not ${wanted} file${found}`, { code: "E412", where: path, hint: "Convert it, or take it out of the folder." });
}

export function damaged(path: string, what: string): never {
  throw new OhemgenError(`${path} is damaged: ${what}`, { code: "E412", where: path, hint: "Replace the file or take it out of the folder." });
}

/** One sample per element; fewer than 8 bits are packed by the decoder, rows padded to whole bytes. */
function unpackedSamples({ data, depth, width, height, channels }: DecodedPng): Uint8Array | Uint16Array {
  if (depth === 16) return Uint16Array.from(data);
  if (depth === 8) return data instanceof Uint8Array ? data : Uint8Array.from(data);
  const perRow = width * channels;
  const rowBytes = Math.ceil((perRow * depth) / 8);
  const samples = new Uint8Array(perRow * height);
  const limit = 2 ** depth - 1;
  for (let row = 0; row < height; row++) {
    for (let i = 0; i < perRow; i++) {
      const bit = i * depth;
      const byte = data[row * rowBytes + (bit >> 3)] as number;
      samples[row * perRow + i] = (byte >> (8 - depth - (bit & 7))) & limit;
    }
  }
  return samples;
}

/** A palette PNG: the pixel value is the class. */
export function encodeMask({ width, height, labels }: Mask, colours: readonly Colour[]): Uint8Array {
  const palette = Array.from({ length: 256 }, (_, i) => [...(colours[i] ?? [0, 0, 0])]);
  return encode({ width, height, data: Uint8Array.from(labels), channels: 1, depth: 8, palette });
}
