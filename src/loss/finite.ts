/**
 * The output `finite`, decided number by number but on tensors of one number per pixel: what holds for every class
 * of a pixel follows from its softmax sum and its smallest logit.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";

const largest = 3.4028234663852886e38;

/** Whether every element's size is at most `limit`; a NaN never is. A bool scalar. */
export function allWithin(op: OpBuilder, x: Value, limit = largest): Value {
  const inside = op.cast(op.lessOrEqual(op.abs(x), limit), "float32");
  return op.greater(op.reduceMin(inside), 0.5);
}

/** Whether all logits are finite: Σ exp(z − max z) is NaN exactly where one is NaN or +∞; −∞ is the smallest. */
export function logitsFinite(op: OpBuilder, logits: Value, exponentialSum: Value): Value {
  const smallest = op.reduceMin(op.reduceMin(logits, [1], true));
  return op.and(allWithin(op, exponentialSum), op.greaterOrEqual(smallest, -largest));
}

/** The gradient is a sum of up to four products with factors of at most 1: no sum of four such numbers overflows. */
export const gradientTermLimit = largest / 8;
