/**
 * Softmax of logits in the layout [N,C,H·W], in parts: as ReduceMax, Sub, Exp, ReduceSum, Div it takes a quarter of
 * the time of the Softmax operator on that layout, and the cross-entropy alone does without the division.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import type { Labels } from "./labels.ts";
import { ofOwnClass } from "./own-class.ts";

export interface Softmax {
  /** z, [N,C,H·W] */
  readonly logits: Value;
  /** max z, [N,1,H·W] */
  readonly largest: Value;
  /** exp(z − max z), [N,C,H·W] */
  readonly exponentials: Value;
  /** Σ exp(z − max z), [N,1,H·W]: between 1 and C. */
  readonly exponentialSum: Value;
}

/** @param logits float32 [N,C,H·W] */
export function softmax(op: OpBuilder, logits: Value): Softmax {
  const largest = op.reduceMax(logits, [1], true);
  const exponentials = op.exp(op.sub(logits, largest));
  return { logits, largest, exponentials, exponentialSum: sumOverClasses(op, exponentials) };
}

/** z_y − max z, [N,1,H·W]; from the logits, so that the exponentials can take the place of what they are made of. */
export function ownShifted(op: OpBuilder, { logits, largest }: Softmax, labels: Labels): Value {
  return op.sub(ofOwnClass(op, logits, labels), largest);
}

/**
 * Σ over the classes, [N,C,H·W] → [N,1,H·W]. The CPU provider's ReduceSum over the first of two axes, which is what a
 * single image leaves, takes ten times as long as a product with ones. On CUDA that product would round to TF32.
 */
export function sumOverClasses(op: OpBuilder, x: Value): Value {
  const [images, channels] = dimsOf(x);
  if (op.provider !== "cpu" || images !== 1 || typeof channels !== "number") return op.reduceSum(x, [1], true);
  return op.matmul(op.constant(tensorOf("float32", [1, channels], new Float32Array(channels).fill(1))), x);
}

export interface Probabilities {
  /** p · scale, [N,C,H·W] */
  readonly all: Value;
  /** p_i[y_i] · scale, [N,1,H·W]; of class 0 at void pixels. */
  readonly own: Value;
  readonly scale: number;
}

/**
 * 0 at pixels that are not valid unless `keepVoid`. Dividing by ∞ masks, and by Σ/scale scales, without another pass;
 * the ∞ is a division by 0, because Where takes four times as long.
 */
export function probabilities(op: OpBuilder, head: Softmax, labels: Labels, keepVoid: boolean, scale: number): Probabilities {
  const divisor = op.div(head.exponentialSum, keepVoid ? scale : op.mul(labels.validMask, scale));
  return { scale, all: op.div(head.exponentials, divisor), own: op.div(ownExponential(op, head, labels), divisor) };
}

/** p_i[y_i], [N,1,H·W]; of class 0 at void pixels. */
export function ownProbability(op: OpBuilder, head: Softmax, labels: Labels): Value {
  return op.div(ownExponential(op, head, labels), head.exponentialSum);
}

/**
 * exp(z_y − max z), [N,1,H·W]; of class 0 at void pixels. From the gathered logits, which the cross-entropy needs too:
 * a second gather would cost as much as Exp of all.
 */
export function ownExponential(op: OpBuilder, head: Softmax, labels: Labels): Value {
  return op.exp(ownShifted(op, head, labels));
}
