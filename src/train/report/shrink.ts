/** Pictures made smaller by a whole factor, with their masks: what people look at need not have every pixel. */

import type { Mask, Picture } from "../masks.ts";
import type { Sample } from "./pictures.ts";

/** At most `across` pixels wide. */
export function shrunkSample(sample: Sample, across: number): Sample {
  const factor = Math.max(1, Math.ceil(sample.picture.width / across));
  if (factor === 1) return sample;
  const { picture, label, prediction } = sample;
  return { ...sample, picture: shrunkPicture(picture, factor), label: shrunkMask(label, factor), prediction: shrunkMask(prediction, factor) };
}

/** Means of squares of `factor` pixels: what is left out of a photograph must not alias. */
function shrunkPicture({ width: across, height: down, rgb }: Picture, factor: number): Picture {
  const [width, height] = [Math.ceil(across / factor), Math.ceil(down / factor)];
  const result = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [right, bottom] = [Math.min(across, (x + 1) * factor), Math.min(down, (y + 1) * factor)];
      const area = (right - x * factor) * (bottom - y * factor);
      for (let channel = 0; channel < 3; channel++) {
        let total = 0;
        for (let j = y * factor; j < bottom; j++) for (let i = x * factor; i < right; i++) total += rgb[(j * across + i) * 3 + channel] as number;
        result[(y * width + x) * 3 + channel] = Math.round(total / area);
      }
    }
  }
  return { width, height, rgb: result };
}

/** The label in the middle of each square: a mean of classes is no class. */
function shrunkMask({ width: across, height: down, labels }: Mask, factor: number): Mask {
  const [width, height] = [Math.ceil(across / factor), Math.ceil(down / factor)];
  const middle = (i: number, limit: number): number => Math.min(limit - 1, i * factor + (factor >> 1));
  const shrunk = Int32Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return labels[middle(y, down) * across + middle(x, across)] as number;
  });
  return { width, height, labels: shrunk };
}
