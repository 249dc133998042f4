/** Images and masks of two folders, paired by the name without its ending, in alphabetical order. */

import { readdirSync, statSync } from "node:fs";
import { extname, join, sep } from "node:path";
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

/**
 * How names are read. `cityscapes`: in folders by city, `…_leftImg8bit.png` beside `…_gtFine_labelIds.png` (or
 * `gtCoarse`) among files of other kinds.
 */
export type Naming = "plain" | "cityscapes";

/** @throws OhemgenError E410 (no such folder, no images), E411 (an image without mask, two files of one name). */
export function pairFiles(imageFolder: string, maskFolder: string, naming: Naming = "plain"): Pairing {
  const images = filesByStem(imageFolder, naming, /_leftImg8bit$/);
  const masks = filesByStem(maskFolder, naming, /_gt(Fine|Coarse)_labelIds$/);
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
  return filesByStem(folder, "plain");
}

/** @param suffix what the names of the files in question end with, if any does; not part of the stem */
function filesByStem(folder: string, naming: Naming, suffix?: RegExp): Map<string, string> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new OhemgenError(`${folder} is not a folder`, { code: "E410", where: folder, hint: "Give a folder of images." });
  }
  const deep = naming === "cityscapes";
  const names = readdirSync(folder, { recursive: deep, encoding: "utf8" })
    .filter((name) => !/(^|[\\/])\./.test(name) && imageEndings.has(extname(name).toLowerCase()))
    .sort();
  const withoutEnding = (name: string): string => name.slice(0, -extname(name).length);
  const chosen = deep && suffix !== undefined ? names.filter((name) => suffix.test(withoutEnding(name))) : [];
  const files = new Map<string, string>();
  for (const name of chosen.length > 0 ? chosen : names) {
    const whole = withoutEnding(name).split(sep).join("/");
    const stem = chosen.length > 0 ? whole.replace(suffix ?? "", "") : whole;
    const other = files.get(stem);
    if (other !== undefined) {
      throw new OhemgenError(`two files are called ${stem}: ${other} and ${name}`, { code: "E411", where: folder, hint: "Keep one of them." });
    }
    files.set(stem, join(folder, name));
  }
  if (files.size === 0) {
    throw new OhemgenError(`${folder} holds no images`, { code: "E410", where: folder, hint: "PNG, JPEG or WebP files are expected directly in the folder." });
  }
  return files;
}

function someOf(stems: readonly string[]): string {
  return stems.slice(0, 5).join(", ") + (stems.length > 5 ? `, and ${stems.length - 5} more` : "");
}
