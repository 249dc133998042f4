/** Pictures and masks in a page: the browser decodes pictures, masks keep the numbers that their files store. */

import type { PictureSource } from "../train/dataset.ts";
import { checkPicture, damaged, type Picture, pixelLimit, rawMaskOf } from "../train/masks.ts";

/** As everywhere in ohemgen: turned as EXIF says, no colour profile applied, the alpha channel left out. */
const asStored: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

async function decodeRgb(bytes: Uint8Array, path: string): Promise<Picture> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), asStored);
  } catch (cause) {
    return damaged(path, cause instanceof Error ? cause.message : String(cause));
  }
  const { width, height } = bitmap;
  if (width * height > pixelLimit) return damaged(path, `a size of ${width} × ${height} pixels`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) return damaged(path, "this browser cannot draw it");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    rgb[i * 3] = data[i * 4] as number;
    rgb[i * 3 + 1] = data[i * 4 + 1] as number;
    rgb[i * 3 + 2] = data[i * 4 + 2] as number;
  }
  return { width, height, rgb };
}

/** @param files by the paths that pairs name */
export function browserPictures(files: ReadonlyMap<string, Blob>): PictureSource {
  const read = async (path: string): Promise<Uint8Array> => {
    const file = files.get(path);
    if (file === undefined) return damaged(path, "it is not there");
    return new Uint8Array(await file.arrayBuffer());
  };
  return {
    async picture(path) {
      const bytes = await read(path);
      checkPicture(bytes, path);
      return decodeRgb(bytes, path);
    },
    mask: async (path) => rawMaskOf(await read(path), path, { rgb: decodeRgb }),
  };
}
