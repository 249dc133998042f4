/**
 * The gradient at the logits of a softmax head, p ⊙ (G − ⟨p,G⟩ + pull) − own · onehot(y) − uniform · w, in one pass over
 * the classes. At its own class each pixel's element is worked out apart, from one number per pixel.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { PixelGradient } from "./cross-entropy.ts";
import type { Labels } from "./labels.ts";
import type { SoftmaxGradient } from "./lovasz.ts";
import { ownExponential, type Probabilities, type Softmax } from "./softmax.ts";

/** `others` [N,C,H·W] but for each pixel's own class, where it is `own` [N,1,H·W]; without `own` all of it. */
export interface LogitGradient {
  readonly others: Value;
  readonly own: Value | undefined;
}

/** What the Lovász term says of the probabilities p′ = s·p. */
export interface SurrogateGradient {
  readonly p: Probabilities;
  readonly g: SoftmaxGradient;
}

/**
 * @param hard of the cross-entropy
 * @returns the gradient, and the numbers per pixel it is made of beside factors of at most 1
 */
export function gradientAtLogits(
  op: OpBuilder,
  head: Softmax,
  labels: Labels,
  hard: PixelGradient | undefined,
  surrogate: SurrogateGradient | undefined,
): { gradient: LogitGradient; parts: readonly Value[] } {
  const parts = [...(hard === undefined ? [] : [hard.pull]), ...(surrogate === undefined ? [] : [surrogate.g.dot])];
  const pulled = surrogate === undefined ? hard && pulledByLabels(op, head, labels, hard) : pulledByBoth(op, hard, surrogate);
  if (pulled === undefined) return { gradient: { others: op.mul(head.exponentials, 0), own: undefined }, parts };
  if (hard === undefined) return { gradient: pulled, parts };
  const own = op.sub(pulled.own, hard.own);
  const { uniform } = hard;
  if (uniform === undefined) return { gradient: { others: pulled.others, own }, parts };
  const { perPixel, weights } = uniform;
  const [all, ofLabel] = weights === undefined ? [perPixel, perPixel] : [op.mul(perPixel, weights.all), op.mul(perPixel, weights.ofLabel)];
  return { gradient: { others: op.sub(pulled.others, all), own: op.sub(own, ofLabel) }, parts };
}

interface Pulled {
  readonly others: Value;
  readonly own: Value;
}

/** p · pull = exp(z − max z) · (pull / Σ) */
function pulledByLabels(op: OpBuilder, head: Softmax, labels: Labels, hard: PixelGradient): Pulled {
  const factor = op.div(hard.pull, head.exponentialSum);
  return { others: op.mul(head.exponentials, factor), own: op.mul(ownExponential(op, head, labels), factor) };
}

/** With p′ = s·p and G′ = G/s: p ⊙ (G + pull − ⟨p,G⟩) = p′ ⊙ (G′ + (pull − ⟨p′,G′⟩)/s). */
function pulledByBoth(op: OpBuilder, hard: PixelGradient | undefined, { p, g }: SurrogateGradient): Pulled {
  const shift = op.div(hard === undefined ? op.neg(g.dot) : op.sub(hard.pull, g.dot), p.scale);
  return { others: op.mul(g.others, op.add(g.all, shift)), own: op.mul(p.own, op.add(g.own, shift)) };
}
