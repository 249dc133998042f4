/** Pictures and masks in Node: a picture (PNG, JPEG, WebP) becomes RGB of 8 bits, whatever the file's colours are. */

import { OhemgenError } from "../support/errors.ts";
import { loadCodec } from "./image-codec.ts";
import { checkPicture, damaged, type Mask, numbersOf, type Picture, pixelLimit, type RawMask, rawMaskOf } from "./masks.ts";
import { pngIndices } from "./png-indices.ts";

/**
 * A picture as it is seen: turned as its EXIF data says, without its alpha channel, no colour profile applied.
 * @throws OhemgenError E412 naming `path`, E401 without the image library.
 */
export async function decodePicture(bytes: Uint8Array, path: string): Promise<Picture> {
  checkPicture(bytes, path);
  return decodeRgb(bytes, path);
}

async function decodeRgb(bytes: Uint8Array, path: string): Promise<Picture> {
  const codec = await loadCodec();
  try {
    const image = codec(bytes, { failOn: "error", limitInputPixels: pixelLimit, ignoreIcc: true, autoOrient: true });
    const { data, info } = await image.removeAlpha().toColourspace("srgb").raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) return damaged(path, `${info.channels} channels`);
    return { width: info.width, height: info.height, rgb: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  } catch (cause) {
    if (cause instanceof OhemgenError) throw cause;
    return damaged(path, cause instanceof Error ? cause.message.trim().replace(/\s*\n\s*/g, "; ") : String(cause));
  }
}

/** @throws OhemgenError E412 naming `path`. */
export function decodeRawMask(bytes: Uint8Array, path: string): Promise<RawMask> {
  return rawMaskOf(bytes, path, { rgb: decodeRgb, indices: pngIndices });
}

/** A mask of class numbers. @throws OhemgenError E412 naming `path`: unreadable, or colours instead of numbers. */
export async function decodeMask(bytes: Uint8Array, path: string): Promise<Mask> {
  return numbersOf(await decodeRawMask(bytes, path), path);
}

/** A PNG. */
export async function encodePicture({ width, height, rgb }: Picture): Promise<Uint8Array> {
  const codec = await loadCodec();
  return codec(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
