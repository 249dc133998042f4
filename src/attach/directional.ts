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

export interface Bounds {
  /** Parts of the size of the weights, from the largest. */
  readonly steps: readonly number[];
  readonly right: number;
  readonly wrong: number;
}

const halvings = (first: number, last: number): readonly number[] => Array.from({ length: last - first + 1 }, (_, i) => 2 ** -(first + i));

/**
 * Along the gradient itself the product is as large as it can be, so that rounding weighs little and small steps can
 * be taken, below curvature and kinks: factors, signs and permuted or shifted elements show. Across it, in a random
 * direction, what is missing shows; the product is 1/√n as large and float32 leaves some hundredths of noise.
 */
export const bounds: { readonly along: Bounds; readonly across: Bounds } = {
  along: { steps: halvings(11, 23), right: 0.03, wrong: 0.15 },
  across: { steps: halvings(7, 16), right: 0.08, wrong: 0.25 },
};

/** Central difference of fourth order: error h⁴/30 · f⁗′, from values at ±h and ±2h. */
export function fourthOrder(at: (position: number) => number, step: number): number {
  return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
}

/** Below this multiple of the function's rounding no step can tell a product from 0. */
const visible = 64;

/**
 * @param at the function at positions along v; needed at ±h and ±2h for each step h
 * @param products gᵢ·vᵢ summed, and their squares summed, in double precision; `rounding` of the function's values
 */
export function judged(
  at: (position: number) => number,
  products: { readonly sum: number; readonly squares: number; readonly rounding: number },
  { steps, right, wrong }: Bounds,
): DirectionalResult {
  const typical = Math.sqrt(products.squares);
  const scale = Math.max(typical, Math.abs(products.sum), visible * products.rounding);
  const results = steps.map((step): StepError => {
    const numeric = fourthOrder(at, step);
    const difference = Math.abs(numeric - products.sum);
    return { step, numeric, error: difference === 0 ? 0 : difference / scale };
  });
  const pairs = results.slice(1).map(({ error }, i) => Math.max(error, (results[i] as StepError).error));
  const best = pairs.reduce((least, error) => (error < least ? error : least), Number.POSITIVE_INFINITY);
  return { analytic: products.sum, typical, steps: results, best, verdict: best <= right ? "right" : best > wrong ? "wrong" : "unclear" };
}

/** Positions at which `judged` asks for the function. */
export function positions({ steps }: Bounds): readonly number[] {
  const all = new Set(steps.flatMap((step) => [step, -step, 2 * step, -2 * step]));
  return [...all].sort((a, b) => a - b);
}

/** One verdict of several: what is wrong anywhere is wrong. */
export function together(verdicts: readonly Verdict[]): Verdict {
  return verdicts.includes("wrong") ? "wrong" : verdicts.includes("unclear") ? "unclear" : "right";
}

/** The kindest of several attempts at other points: a kink is at one point, a wrong gradient everywhere. */
export function kindest(attempts: readonly DirectionalResult[]): DirectionalResult {
  return attempts.reduce((a, b) => (b.best < a.best ? b : a));
}
