/** Random brightness, contrast and saturation: one affine map of RGB per sample, applied after resampling. */

import type { Random } from "../support/random.ts";

/** Rows of a 3 × 4 matrix: new colour = M · (r, g, b, 1), colours from 0 to 255. */
export type ColourMap = Float64Array;

/** Weights of red, green and blue in grey: ITU-R BT.601, as PIL's mode "L". */
export const luma = [0.299, 0.587, 0.114] as const;

/** The grey that contrast turns about: that of an average photograph (ImageNet). */
const middleGrey = 255 * 0.456;

/**
 * Brightness, contrast and saturation by factors drawn evenly from [1 − strength, 1 + strength], in this order:
 * b·x, then m + c·(x − m) with middle grey m, then g + s·(x − g) with the grey g of the pixel.
 */
export function randomColours(strength: number, random: Random): ColourMap | undefined {
  // Drawn in any case: the numbers that follow do not depend on the setting.
  const [brightness, contrast, saturation] = [0, 0, 0].map(() => random.between(1 - strength, 1 + strength)) as [number, number, number];
  if (strength === 0) return undefined;
  const gain = brightness * contrast;
  const shift = middleGrey * (1 - contrast);
  const map = new Float64Array(12);
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) {
      map[row * 4 + column] = gain * ((row === column ? saturation : 0) + (1 - saturation) * (luma[column] as number));
    }
    // A grey stays grey: the weights of luma add up to 1.
    map[row * 4 + 3] = shift;
  }
  return map;
}

/** In place, on interleaved RGB; results are kept within 0 and 255. */
export function mapColours(line: Float64Array, map: ColourMap): void {
  const [m0 = 0, m1 = 0, m2 = 0, m3 = 0, m4 = 0, m5 = 0, m6 = 0, m7 = 0, m8 = 0, m9 = 0, m10 = 0, m11 = 0] = map;
  for (let i = 0; i < line.length; i += 3) {
    const [r, g, b] = [line[i] as number, line[i + 1] as number, line[i + 2] as number];
    line[i] = clamped(m0 * r + m1 * g + m2 * b + m3);
    line[i + 1] = clamped(m4 * r + m5 * g + m6 * b + m7);
    line[i + 2] = clamped(m8 * r + m9 * g + m10 * b + m11);
  }
}

function clamped(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
