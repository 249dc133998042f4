/**
 * Winograd's minimal filters: m results of a filter with r taps, y[j] = Σ w[k]·x[j+k], by m + r - 1 products instead of m·r.
 *
 *     y = Aᵀ[(G·w) ⊙ (B·x)]
 *
 * A and G evaluate polynomials at m + r - 2 points and at infinity, B is the transpose of interpolation at them (Toom and
 * Cook's product of polynomials, transposed): S. Winograd, Arithmetic Complexity of Computations, 1980.
 */

/**
 * 0, 1, -1, 1/2, -2 and infinity lose the fewest digits of the sets of small numbers tried: results are 3 times as far from
 * exact ones as those of m·r products in float32, and so are gradients at taps.
 */
const points = [0, 1, -1, 0.5, -2];

/** Products of a tile. */
export const productCount = points.length + 1;

/** The point at which A is 1 for every result: what is added to its product is added to each of them. */
export const unitPoint = points.indexOf(1);

export const leastTaps = 2;
export const mostTaps = 5;

type Matrix = readonly (readonly number[])[];

export interface MinimalFilter {
  /** Results of a tile. */
  readonly results: number;
  /** A: `[products, results]` */
  readonly ofResults: Matrix;
  /** G: `[products, taps]` */
  readonly ofTaps: Matrix;
  /** B: `[products, products]` */
  readonly ofImage: Matrix;
}

/** 1, p, p²…; at infinity the leading coefficient. */
const powers = (count: number): Matrix => [
  ...points.map((point) => Array.from({ length: count }, (_, i) => point ** i)),
  Array.from({ length: count }, (_, i) => (i === count - 1 ? 1 : 0)),
];

/** Coefficients of Π (x - root), the constant one first. */
function monic(roots: readonly number[]): readonly number[] {
  let all = [1];
  for (const root of roots) all = [...all, 0].map((coefficient, i) => (all[i - 1] ?? 0) - root * coefficient);
  return all;
}

const others = (point: number) => points.filter((other) => other !== point);

/** @param taps from `leastTaps` to `mostTaps` */
export function minimalFilter(taps: number): MinimalFilter {
  const results = productCount + 1 - taps;
  // Row of B: Lagrange's polynomial of the point, whose denominator G takes, so that B is exact in float32.
  const ofImage = [...points.map((point) => [...monic(others(point)), 0]), monic(points)];
  const denominators = [...points.map((point) => others(point).reduce((all, other) => all * (point - other), 1)), 1];
  const ofTaps = powers(taps).map((row, i) => row.map((power) => power / (denominators[i] as number)));
  return { results, ofResults: powers(results), ofTaps, ofImage };
}
