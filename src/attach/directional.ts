/**
 * The directional gradient check: ⟨gradient, v⟩ against differences of the function along v, with a verdict that knows
 * two enemies of small steps and large ones: rounding, which grows as 1/h, and kinks, whose share grows with h.
 */

export interface StepError {
  readonly step: number;
  /** The difference quotient of fourth order. */
  readonly numeric: number;
  /** |numeric − analytic| by what ⟨gradient, v⟩ typically is, or by what rounding lets be seen at all. */
  readonly error: number;
}

export type Verdict = "right" | "wrong" | "unclear";

export interface DirectionalResult {
  readonly analytic: number;
  /** √Σ (gᵢ·vᵢ)²: the standard deviation of ⟨g, v⟩ over random signs of v. */
  readonly typical: number;
  /** From the largest step to the smallest. */
  readonly steps: readonly StepError[];
  /** The smallest error that two neighbouring steps both stay within: a chance hit has no neighbour. */
  readonly best: number;
  readonly verdict: Verdict;
}

/** Relative to the size of the weights. */
export const steps: readonly number[] = Array.from({ length: 11 }, (_, i) => 2 ** -(i + 5));

/** Errors in float32: 1e-5 to 1e-3 for smooth networks, up to some hundredths where activations sit at kinks. */
const rightBelow = 0.03;
/** A wrong factor, sign or a missing term in a group moves the product by a tenth and more, at every step. */
const wrongAbove = 0.1;

/** Central difference of fourth order: error h⁴/30 · f⁗′, from values at ±h and ±2h. */
export function fourthOrder(at: (position: number) => number, step: number): number {
  return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
}

/** Below this multiple of the function's rounding no step can tell a product from 0. */
const visible = 64;

/**
 * @param at the function at positions along v; needed at ±h and ±2h for each of `steps`
 * @param products gᵢ·vᵢ summed, and their squares summed, in double precision; `rounding` of the function's values
 */
export function judged(
  at: (position: number) => number,
  products: { readonly sum: number; readonly squares: number; readonly rounding: number },
): DirectionalResult {
  const typical = Math.sqrt(products.squares);
  const scale = Math.max(typical, visible * products.rounding);
  const results = steps.map((step): StepError => {
    const numeric = fourthOrder(at, step);
    const difference = Math.abs(numeric - products.sum);
    return { step, numeric, error: difference === 0 ? 0 : difference / scale };
  });
  const pairs = results.slice(1).map(({ error }, i) => Math.max(error, (results[i] as StepError).error));
  const best = pairs.reduce((least, error) => (error < least ? error : least), Number.POSITIVE_INFINITY);
  return { analytic: products.sum, typical, steps: results, best, verdict: best <= rightBelow ? "right" : best > wrongAbove ? "wrong" : "unclear" };
}

/** Positions at which `judged` asks for the function. */
export function positions(): readonly number[] {
  const all = new Set(steps.flatMap((step) => [step, -step, 2 * step, -2 * step]));
  return [...all].sort((a, b) => a - b);
}

/** The kindest of several attempts at other points: a kink is at one point, a wrong gradient everywhere. */
export function kindest(attempts: readonly DirectionalResult[]): DirectionalResult {
  return attempts.reduce((a, b) => (b.best < a.best ? b : a));
}
