/**
 * Pictures and masks from PNG bytes. A picture becomes RGB of 8 bits, whatever the file's colours are; a mask keeps
 * the numbers that the file stores: palette indices or grey values, which are the classes.
 */

import { type DecodedPng, decode, encode } from "fast-png";
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
  readonly labels: Uint8Array | Uint16Array;
}

export type Colour = readonly [red: number, green: number, blue: number];

/** Larger pictures are taken for damaged files. */
const pixelLimit = 2 ** 28;

/** @throws OhemgenError E412 naming `path`. */
export function decodePicture(bytes: Uint8Array, path: string): Picture {
  const png = decodePng(bytes, path);
  const { width, height, channels, depth, palette } = png;
  const samples = unpackedSamples(png);
  const rgb = new Uint8Array(width * height * 3);
  // 16 bits to 8 divides by 257, small depths multiply: both map the largest value to 255.
  const scale = 255 / (2 ** depth - 1);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      rgb[pixel * 3 + channel] =
        palette === undefined
          ? Math.round((samples[pixel * channels + (channels < 3 ? 0 : channel)] as number) * scale)
          : (palette[samples[pixel] as number]?.[channel] ?? damaged(path, "a colour outside its palette"));
    }
  }
  return { width, height, rgb };
}

/** @throws OhemgenError E412 naming `path`: unreadable, or colours instead of numbers. */
export function decodeMask(bytes: Uint8Array, path: string): Mask {
  const png = decodePng(bytes, path);
  const { width, height, channels } = png;
  const samples = unpackedSamples(png);
  if (channels === 1) return { width, height, labels: samples };
  const labels = new (samples instanceof Uint16Array ? Uint16Array : Uint8Array)(width * height);
  for (let pixel = 0; pixel < labels.length; pixel++) {
    const at = pixel * channels;
    const value = samples[at] as number;
    // Some tools save grey masks as RGB; different channels are colours, which only their maker can translate.
    if (channels >= 3 && (samples[at + 1] !== value || samples[at + 2] !== value)) {
      throw new OhemgenError(`${path} is a picture in colours, not a mask of class numbers`, {
        code: "E412",
        where: path,
        hint: "Save masks as palette or greyscale PNG whose pixel value is the class.",
      });
    }
    labels[pixel] = value;
  }
  return { width, height, labels };
}

function decodePng(bytes: Uint8Array, path: string): DecodedPng {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || header.getUint32(0) !== 0x89504e47 || header.getUint32(4) !== 0x0d0a1a0a) {
    throw new OhemgenError(`${path} is not a PNG file${otherFormat(bytes)}`, { code: "E412", where: path, hint: "Convert it to PNG." });
  }
  const [width, height] = [header.getUint32(16), header.getUint32(20)];
  if (width * height === 0 || width * height > pixelLimit) return damaged(path, `a size of ${width} × ${height} pixels`);
  try {
    return decode(bytes, { checkCrc: true });
  } catch (cause) {
    return damaged(path, cause instanceof Error ? cause.message : String(cause));
  }
}

function otherFormat(bytes: Uint8Array): string {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  if (start.startsWith("\xff\xd8\xff")) return " (a JPEG)";
  if (start.startsWith("RIFF") && start.endsWith("WEBP")) return " (a WebP)";
  return bytes.length === 0 ? " (it is empty)" : "";
}

function damaged(path: string, what: string): never {
  throw new OhemgenError(`${path} is damaged: ${what}`, { code: "E412", where: path, hint: "Replace the file or take it out of the folder." });
}

/** One sample per element; fewer than 8 bits are packed by the decoder, rows padded to whole bytes. */
function unpackedSamples({ data, depth, width, height, channels }: DecodedPng): Uint8Array | Uint16Array {
  if (depth === 16) return Uint16Array.from(data);
  if (depth === 8) return Uint8Array.from(data);
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

export function encodePicture({ width, height, rgb }: Picture): Uint8Array {
  return encode({ width, height, data: rgb, channels: 3, depth: 8 }, { zlib: { level: 9 } });
}

/** A palette PNG: the pixel value is the class. */
export function encodeMask({ width, height, labels }: Mask, colours: readonly Colour[]): Uint8Array {
  const palette = Array.from({ length: 256 }, (_, i) => [...(colours[i] ?? [0, 0, 0])]);
  return encode({ width, height, data: Uint8Array.from(labels), channels: 1, depth: 8, palette }, { zlib: { level: 9 } });
}
