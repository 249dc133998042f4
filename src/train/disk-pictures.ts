/** Pictures and masks as files. */

import { readFile } from "node:fs/promises";
import { OhemgenError } from "../support/errors.ts";
import type { PictureSource } from "./dataset.ts";
import { decodePicture, decodeRawMask } from "./images.ts";

export const diskPictures: PictureSource = {
  picture: async (path) => decodePicture(await readPicture(path), path),
  mask: async (path) => decodeRawMask(await readPicture(path), path),
};

/** @throws OhemgenError E412. */
export async function readPicture(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const gone = (cause as NodeJS.ErrnoException).code === "ENOENT";
    const reason = gone ? "is not there any more" : `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new OhemgenError(`${path} ${reason}`, { code: "E412", where: path, hint: "Files must stay in place while they are used.", cause });
  }
}
