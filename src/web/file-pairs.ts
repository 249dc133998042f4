/** Images and masks that were dropped, paired by the name without its ending, in alphabetical order. */

import { OhemgenError } from "../support/errors.ts";
import type { FilePair } from "./protocol.ts";

/** @throws OhemgenError E410 (nothing there), E411 (an image without mask, two files of one name). */
export function pairedFiles(images: readonly File[], masks: readonly File[]): FilePair[] {
  const [byImage, byMask] = [byStem(images, "images"), byStem(masks, "masks")];
  const missing = [...byImage.keys()].filter((stem) => !byMask.has(stem));
  const [first] = missing;
  if (first !== undefined) {
    throw new OhemgenError(`${missing.length} of ${byImage.size} images have no mask; the first is ${byImage.get(first)?.name}`, {
      code: "E411",
      hint: `Image and mask have the same name: ${first}.jpg and ${first}.png.`,
    });
  }
  return [...byImage].sort(([a], [b]) => (a < b ? -1 : 1)).map(([stem, image]) => ({ stem, image, mask: byMask.get(stem) as File }));
}

function byStem(files: readonly File[], what: string): Map<string, File> {
  const result = new Map<string, File>();
  for (const file of files) {
    if (file.name.startsWith(".")) continue;
    const stem = file.name.replace(/\.[^.]*$/, "");
    if (result.has(stem)) throw new OhemgenError(`two ${what} are called ${stem}`, { code: "E411", hint: "Keep one of them." });
    result.set(stem, file);
  }
  if (result.size === 0) throw new OhemgenError(`there are no ${what}`, { code: "E410", hint: "Choose PNG, JPEG or WebP pictures and PNG masks." });
  return result;
}

/** One pair in so many is kept to measure on; fewer are all trained on. */
export const heldOut = 5;

/** A fifth to measure on, spread evenly; null where there are too few to keep any apart. */
export function split(pairs: readonly FilePair[]): { training: readonly FilePair[]; validation: readonly FilePair[] | null } {
  if (pairs.length < heldOut) return { training: pairs, validation: null };
  const held = (i: number): boolean => i % heldOut === heldOut - 1;
  return { training: pairs.filter((_, i) => !held(i)), validation: pairs.filter((_, i) => held(i)) };
}
