/** Images and masks of two folders, paired by the name without its ending, in alphabetical order. */

import { readdirSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { OhemgenError } from "../support/errors.ts";

export interface Pair {
  readonly stem: string;
  readonly image: string;
  readonly mask: string;
}

export interface Pairing {
  readonly pairs: readonly Pair[];
  /** Stems of masks that have no image: no fault, but worth telling. */
  readonly unusedMasks: readonly string[];
}

const imageEndings = new Set([".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"]);

/** @throws OhemgenError E410 (no such folder, no images), E411 (an image without mask, two files of one name). */
export function pairFiles(imageFolder: string, maskFolder: string): Pairing {
  const images = listImages(imageFolder);
  const masks = listImages(maskFolder);
  const missing = [...images.keys()].filter((stem) => !masks.has(stem));
  if (missing.length > 0) {
    const all = missing.length === images.size;
    throw new OhemgenError(`${missing.length} of ${images.size} images in ${imageFolder} have no mask: ${someOf(missing)}`, {
      code: "E411",
      where: maskFolder,
      hint: all
        ? `Image and mask need the same name: ${[...images.keys()][0]} in both folders. Found masks: ${someOf([...masks.keys()])}.`
        : "Add the masks, or move these images elsewhere.",
    });
  }
  const pairs = [...images].map(([stem, image]) => ({ stem, image, mask: masks.get(stem) as string }));
  return { pairs, unusedMasks: [...masks.keys()].filter((stem) => !images.has(stem)) };
}

/** Paths by stem. */
export function listImages(folder: string): Map<string, string> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new OhemgenError(`${folder} is not a folder`, { code: "E410", where: folder, hint: "Give a folder of PNG files." });
  }
  const files = new Map<string, string>();
  for (const name of readdirSync(folder).sort()) {
    const ending = extname(name);
    if (name.startsWith(".") || !imageEndings.has(ending.toLowerCase())) continue;
    const stem = name.slice(0, -ending.length);
    const other = files.get(stem);
    if (other !== undefined) {
      throw new OhemgenError(`two files are called ${stem}: ${other} and ${name}`, { code: "E411", where: folder, hint: "Keep one of them." });
    }
    files.set(stem, join(folder, name));
  }
  if (files.size === 0) {
    throw new OhemgenError(`${folder} holds no images`, { code: "E410", where: folder, hint: "PNG files are expected directly in the folder." });
  }
  return files;
}

function someOf(stems: readonly string[]): string {
  return stems.slice(0, 5).join(", ") + (stems.length > 5 ? `, and ${stems.length - 5} more` : "");
}
