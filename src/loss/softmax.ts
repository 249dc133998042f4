/**
 * Softmax of logits in the layout [N,C,H·W], in parts: as ReduceMax, Sub, Exp, ReduceSum, Div it takes a quarter of
 * the time of the Softmax operator on that layout, and the cross-entropy alone does without the division.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { Labels } from "./labels.ts";

export interface Softmax {
  /** z − max z, [N,C,H·W] */
  readonly shifted: Value;
  /** exp(z − max z), [N,C,H·W] */
  readonly exponentials: Value;
  /** Σ exp(z − max z), [N,1,H·W]: between 1 and C. */
  readonly exponentialSum: Value;
}

/** @param logits float32 [N,C,H·W] */
export function softmax(op: OpBuilder, logits: Value): Softmax {
  const shifted = op.sub(logits, op.reduceMax(logits, [1], true));
  const exponentials = op.exp(shifted);
  return { shifted, exponentials, exponentialSum: op.reduceSum(exponentials, [1], true) };
}

export interface Probabilities {
  /** p, [N,C,H·W] */
  readonly all: Value;
  /** p_i[y_i], [N,1,H·W]; of class 0 at void pixels. */
  readonly own: Value;
}

/** 0 at pixels that are not valid unless `keepVoid`. Dividing by ∞ masks without another pass. */
export function probabilities(op: OpBuilder, head: Softmax, labels: Labels, keepVoid: boolean): Probabilities {
  const divisor = keepVoid ? head.exponentialSum : op.where(labels.valid, head.exponentialSum, Number.POSITIVE_INFINITY);
  return { all: op.div(head.exponentials, divisor), own: op.div(ownExponential(op, head, labels), divisor) };
}

/** p_i[y_i], [N,1,H·W]; of class 0 at void pixels. */
export function ownProbability(op: OpBuilder, head: Softmax, labels: Labels): Value {
  return op.div(ownExponential(op, head, labels), head.exponentialSum);
}

/** From the gathered logits, which the cross-entropy needs too: a second gather would cost as much as Exp of all. */
function ownExponential(op: OpBuilder, { shifted }: Softmax, labels: Labels): Value {
  return op.exp(ofOwnClass(op, shifted, labels));
}

/** The element of each pixel's own class: [N,C,H·W] → [N,1,H·W]; of class 0 at void pixels. */
export function ofOwnClass(op: OpBuilder, x: Value, labels: Labels): Value {
  return op.emit("GatherElements", [x, op.max(labels.index, 0)], { axis: 1 });
}
