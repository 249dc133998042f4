/**
 * The output `finite`, decided element by element, with as few passes over all classes as that takes: a gradient that
 * is made of finite factors is judged by these, one number per pixel.
 */

import { largestFloat32 } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { filled } from "./pixels.ts";

/** Whether every element's size is at most `limit`; a NaN never is. A bool scalar. */
export function allWithin(op: OpBuilder, x: Value, limit = largestFloat32): Value {
  const inside = op.cast(op.lessOrEqual(op.abs(x), limit), "float32");
  return op.greater(op.reduceMin(inside), 0.5);
}

/**
 * Whether all logits are finite: 0·z summed over the classes is 0, or NaN where one is not. As a product with a row
 * of zeros it takes a tenth of the time of a reduction, and no finite logit overflows it.
 * @param logits [N,C,H·W]
 */
export function logitsFinite(op: OpBuilder, logits: Value): Value {
  const channels = logits.shape?.[1];
  const zeros =
    typeof channels === "number" ? op.constant(tensorOf("float32", [1, channels], new Float32Array(channels))) : filled(op, 0, [1, op.dim(logits, 1)]);
  return allWithin(op, op.matmul(zeros, logits));
}

/** The gradient is a sum of up to four products with factors of at most 1: no sum of four such numbers overflows. */
export const gradientTermLimit = largestFloat32 / 8;
