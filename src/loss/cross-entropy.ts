/**
 * Cross-entropy over the hard pixels of a softmax head, and what it puts into the gradient at the logits:
 * ∂L/∂z = pull · p − own · onehot(y) − uniform · w, with one number per pixel each.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { Labels } from "./labels.ts";
import type { ResolvedLossOptions } from "./options.ts";
import { reshapeTo, scalarOf, sumPixels } from "./pixels.ts";
import { type Selection, selectHard } from "./ranking.ts";
import { ownProbability, ownShifted, type Softmax, sumOverClasses } from "./softmax.ts";

type CrossEntropy = ResolvedLossOptions["ce"];

export interface CrossEntropyTerm {
  /** float32 scalar, before its weight. */
  readonly value: Value;
  readonly selection: Selection;
  /** m_i · scale / D for each pixel, [N,1,H·W]: what every gradient of the term carries. */
  readonly share: Value;
}

export interface PixelGradient {
  readonly pull: Value;
  readonly own: Value;
  /** With label smoothing: [N,1,H·W] times class weights (all [1,C,1], of the label [N,1,H·W]), or times 1. */
  readonly uniform?: { readonly perPixel: Value; readonly weights: { readonly all: Value; readonly ofLabel: Value } | undefined };
}

/** Class weights at each pixel's label, [N,1,H·W]; weight of class 0 at void pixels. */
export function weightOfLabel(op: OpBuilder, weights: readonly number[], labels: Labels): Value {
  const table = op.constant(tensorOf("float32", [weights.length], weights));
  const flat = op.reshape(op.max(labels.index, 0), [-1]);
  const found = op.emit("GatherElements", [table, flat], { axis: 0 });
  return reshapeTo(op, found, [labels.grid.images, 1, labels.grid.area]);
}

/**
 * Σ_kept ℓ / D, 0 where D = 0.
 * @param losses ℓ per pixel, [N,1,H·W]
 * @param labelWeights w of the label per pixel; undefined: all 1
 */
export function averageKept(
  op: OpBuilder,
  losses: Value,
  labelWeights: Value | undefined,
  selection: Selection,
  labels: Labels,
  options: CrossEntropy,
  scale: number,
): CrossEntropyTerm {
  const { mask } = selection;
  const divisor = {
    kept: () => scalarOf(op, selection.count),
    weights: () => (labelWeights === undefined ? scalarOf(op, selection.count) : sumPixels(op, op.mul(labelWeights, mask), labels.grid)),
    valid: () => scalarOf(op, labels.validCount),
    all: () => scalarOf(op, labels.grid.total),
  }[options.normalizer]();
  const inverse = op.where(op.greater(divisor, 0), op.reciprocal(divisor), 0);
  return {
    value: op.mul(sumPixels(op, op.mul(losses, mask), labels.grid), inverse),
    selection,
    share: op.mul(mask, op.mul(inverse, options.weight * scale)),
  };
}

/** Cross-entropy of a softmax head and its gradient; `scale` multiplies the gradient only. */
export function crossEntropy(
  op: OpBuilder,
  head: Softmax,
  labels: Labels,
  options: CrossEntropy,
  scale: number,
): { term: CrossEntropyTerm; gradient: PixelGradient } {
  const logSum = op.log(head.exponentialSum);
  const own = op.sub(logSum, ownShifted(op, head, labels));
  const { classWeights, labelSmoothing: epsilon } = options;
  const labelWeights = classWeights === null ? undefined : weightOfLabel(op, classWeights, labels);
  const weighted = labelWeights === undefined ? own : op.mul(labelWeights, own);
  const ranked = options.hardness === "loss" ? weighted : ownProbability(op, head, labels);
  const selection = selectHard(op, ranked, labels, options);
  if (epsilon === 0) {
    const term = averageKept(op, weighted, labelWeights, selection, labels, options, scale);
    const each = labelWeights === undefined ? term.share : op.mul(labelWeights, term.share);
    return { term, gradient: { pull: each, own: each } };
  }
  // q = (1−ε)·onehot + ε/C:  ℓ = (1−ε)·w_y·ℓ_y + ε/C · Σ_c w_c (log Σ exp − z_c)
  const classCount = op.cast(labels.classes, "float32");
  const part = op.div(op.scalar("float32", epsilon), classCount);
  const weights = classWeights === null ? undefined : op.constant(tensorOf("float32", [1, classWeights.length, 1], classWeights));
  const weightSum =
    classWeights === null
      ? classCount
      : op.scalar(
          "float32",
          classWeights.reduce((a, b) => a + b, 0),
        );
  const shifted = op.sub(head.logits, head.largest);
  const inner = sumOverClasses(op, weights === undefined ? shifted : op.mul(shifted, weights));
  const spread = op.sub(op.mul(logSum, weightSum), inner);
  const losses = op.add(op.mul(weighted, 1 - epsilon), op.mul(spread, part));
  const term = averageKept(op, losses, labelWeights, selection, labels, options, scale);
  const ownShare = op.mul(labelWeights === undefined ? term.share : op.mul(labelWeights, term.share), 1 - epsilon);
  const perPixel = op.mul(term.share, part);
  const uniform = { perPixel, weights: weights && labelWeights && { all: weights, ofLabel: labelWeights } };
  return { term, gradient: { pull: op.add(ownShare, op.mul(perPixel, weightSum)), own: ownShare, uniform } };
}
