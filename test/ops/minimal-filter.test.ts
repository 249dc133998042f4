/** Minimal filters against the definition of a filter, and the digits that they leave in float32. */

import { describe, expect, test } from "vitest";
import { leastTaps, minimalFilter, mostTaps, productCount, unitPoint } from "../../src/ops/lowerings/minimal-filter.ts";
import { between, randomFrom } from "../autodiff/operands.ts";

const times = (matrix: readonly (readonly number[])[], vector: ArrayLike<number>, round = (x: number) => x) =>
  matrix.map((row) => row.reduce((sum, factor, i) => round(sum + round(factor * (vector[i] as number))), 0));

const transposed = (matrix: readonly (readonly number[])[]) => (matrix[0] as readonly number[]).map((_, i) => matrix.map((row) => row[i] as number));

function filtered(taps: number, w: ArrayLike<number>, x: ArrayLike<number>, round = (value: number) => value) {
  const { ofTaps, ofImage, ofResults } = minimalFilter(taps);
  const image = times(ofImage, x, round);
  const products = times(ofTaps, w, round).map((value, i) => round(value * (image[i] as number)));
  return times(transposed(ofResults), products, round);
}

for (let taps = leastTaps; taps <= mostTaps; taps++) {
  describe(`${taps} taps`, () => {
    const random = randomFrom(taps);
    const draws = Array.from({ length: 200 }, () => ({ w: between(-1, 1)(taps, random), x: between(-1, 1)(productCount, random) }));
    const expected = ({ w, x }: (typeof draws)[number]) =>
      Array.from({ length: productCount + 1 - taps }, (_, j) => Array.from(w).reduce((sum, weight, k) => sum + weight * (x[j + k] as number), 0));

    test("gives every result of the filter", () => {
      for (const draw of draws) {
        const found = filtered(taps, draw.w, draw.x);
        const wanted = expected(draw);
        expect(found).toHaveLength(wanted.length);
        // float64, and numbers of at most 20 on the way.
        found.forEach((value, i) => expect(value).toBeCloseTo(wanted[i] as number, 13));
      }
    });

    test("loses little more than a digit in float32", () => {
      const square = (numbers: readonly number[]) => numbers.reduce((sum, value) => sum + value * value, 0);
      const errors = draws.flatMap((draw) => filtered(taps, draw.w, draw.x, Math.fround).map((value, i) => value - (expected(draw)[i] as number)));
      const error = Math.sqrt(square(errors) / square(draws.flatMap(expected)));
      console.log(`${taps} taps: relative error ${error.toExponential(1)}`);
      // Three roundings of 2⁻²⁴ for each of four terms that the transforms add on the way: 1.8e-7 to 2.2e-7 were found.
      expect(error).toBeLessThan(12 * 2 ** -24);
    });

    test("is exact in float32 but for the kernel", () => {
      const { ofImage, ofResults } = minimalFilter(taps);
      for (const value of [...ofImage, ...ofResults].flat()) expect(Math.fround(value)).toBe(value);
      expect(ofResults[unitPoint]).toEqual(Array.from({ length: productCount + 1 - taps }, () => 1));
    });
  });
}
