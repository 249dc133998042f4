/** The verdict of a gradient check: right functions pass with rounding and kinks, wrong gradients do not. */

import { describe, expect, test } from "vitest";
import { bounds, fourthOrder, judged, kindest, positions, together } from "../../src/attach/directional.ts";

/** A function of one direction, as a sum of many terms gᵢ·t + curvature, rounded to float32 where it is read. */
function sample(terms: number, options: { kinks?: number; noise?: number; along?: boolean } = {}) {
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const slopes = Array.from({ length: terms }, () => (options.along ? Math.abs(random()) : random()));
  const bends = Array.from({ length: terms }, random);
  const kinks = Array.from({ length: options.kinks ?? 0 }, () => ({ at: random() / 4, slope: random() }));
  const at = (t: number) => {
    const smooth = slopes.reduce((sum, slope, i) => sum + slope * t + Math.sin(3 * t * (bends[i] as number)) - 3 * t * (bends[i] as number), 0);
    const bent = kinks.reduce((sum, kink) => sum + kink.slope * (Math.max(0, t - kink.at) - Math.max(0, -kink.at)), 0);
    return smooth + bent + (options.noise ?? 0) * random();
  };
  const products = [...slopes, ...kinks.map((kink) => (kink.at < 0 ? kink.slope : 0))];
  const sum = products.reduce((a, b) => a + b, 0);
  return { at, slopes: products, products: { sum, squares: products.reduce((a, b) => a + b * b, 0), rounding: options.noise ?? 0 } };
}

test("the difference is exact for polynomials up to the fourth degree", () => {
  expect(fourthOrder((t) => 3 + 2 * t - t ** 2 + 5 * t ** 3 - t ** 4, 0.25)).toBeCloseTo(2, 12);
  for (const step of bounds.along.steps) for (const factor of [1, -1, 2, -2]) expect(positions(bounds.along)).toContain(factor * step);
});

describe("verdicts", () => {
  test.each([
    ["smooth", sample(50)],
    ["with rounding", sample(50, { noise: 1e-6 })],
    ["with kinks", sample(50, { kinks: 40 })],
    ["with both", sample(50, { kinks: 40, noise: 1e-6 })],
  ])("%s: right", (_, { at, products }) => {
    expect(judged(at, products, bounds.across)).toMatchObject({ verdict: "right", typical: Math.sqrt(products.squares) });
  });

  test.each([
    ["a factor 1.1", true, (slopes: readonly number[]) => slopes.map((slope) => 1.1 * slope)],
    ["a sign", false, (slopes: readonly number[]) => slopes.map((slope) => -slope)],
    ["the terms of one tensor of five", false, (slopes: readonly number[]) => slopes.map((slope, i) => (i < 10 ? 0 : slope))],
    ["zero", false, (slopes: readonly number[]) => slopes.map(() => 0)],
    ["not a number", false, (slopes: readonly number[]) => slopes.map(() => Number.NaN)],
  ])("%s: not right", (_, along, spoil) => {
    for (const options of [{}, { kinks: 40 }, { noise: 1e-6 }]) {
      const { at, slopes, products } = sample(50, { ...options, along });
      const spoilt = spoil(slopes);
      const sums = { ...products, sum: spoilt.reduce((a, b) => a + b, 0), squares: spoilt.reduce((a, b) => a + b * b, 0) };
      expect(judged(at, sums, along ? bounds.along : bounds.across).verdict).not.toBe("right");
    }
  });

  test("a gradient of zero where the function stands still", () => {
    expect(judged(() => 7, { sum: 0, squares: 0, rounding: 1e-6 }, bounds.along)).toMatchObject({ verdict: "right", best: 0 });
  });

  test("what is wrong anywhere is wrong", () => {
    expect(together(["right", "unclear", "wrong"])).toBe("wrong");
    expect(together(["right", "unclear"])).toBe("unclear");
    expect(together(["right", "right"])).toBe("right");
  });

  test("the kindest of several points counts", () => {
    const { at, products } = sample(50);
    const good = judged(at, products, bounds.across);
    const bad = judged(at, { ...products, sum: products.sum + 10 }, bounds.across);
    expect(bad.verdict).toBe("wrong");
    expect(kindest([bad, good])).toBe(good);
  });
});
