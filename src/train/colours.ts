/** Pictures of masks in the colours of their classes, for people to look at. */

import type { Colour } from "../attach/colours.ts";
import type { Mask, Picture } from "./masks.ts";

/** Labels that are no class are grey. */
const ignoredColour: Colour = [90, 90, 90];

export function colouredMask({ width, height, labels }: Mask, colours: readonly Colour[]): Picture {
  const rgb = new Uint8Array(width * height * 3);
  labels.forEach((label, i) => rgb.set(colours[label] ?? ignoredColour, i * 3));
  return { width, height, rgb };
}

/** The mask laid over the picture, half transparent. */
export function overlay(picture: Picture, mask: Mask, colours: readonly Colour[]): Picture {
  const coloured = colouredMask(mask, colours);
  return { ...picture, rgb: picture.rgb.map((value, i) => (value + (coloured.rgb[i] as number)) >> 1) };
}

/** Pictures of one size in rows, enlarged by a whole factor, with a white gap between. */
export function contactSheet(rows: readonly (readonly Picture[])[], factor = 2, gap = 6): Picture {
  const { width: w = 1, height: h = 1 } = rows[0]?.[0] ?? {};
  const columns = Math.max(...rows.map((row) => row.length));
  const width = columns * w * factor + (columns + 1) * gap;
  const height = rows.length * h * factor + (rows.length + 1) * gap;
  const rgb = new Uint8Array(width * height * 3).fill(255);
  rows.forEach((row, i) => {
    row.forEach((picture, j) => {
      const top = gap + i * (h * factor + gap);
      const left = gap + j * (w * factor + gap);
      for (let y = 0; y < h * factor; y++) {
        for (let x = 0; x < w * factor; x++) {
          const from = (Math.floor(y / factor) * w + Math.floor(x / factor)) * 3;
          rgb.set(picture.rgb.subarray(from, from + 3), ((top + y) * width + left + x) * 3);
        }
      }
    });
  });
  return { width, height, rgb };
}
