/** Sums over the images of a batch. */

import { elementCount, isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";

/** Elements of an image from which on a product is worth its nodes. */
const large = 1 << 14;

/** `[N, …]` to `[…]`, by ReduceSum. */
export function imageSumByReduction(op: OpBuilder, value: Value): Value {
  return op.reduceSum(value, [0]);
}

/** `[N, …]` to `[…]`, by a product with a row of ones. Sizes but N have to be known. */
export function imageSumByProduct(op: OpBuilder, value: Value): Value {
  const [images, ...rest] = dimsOf(value);
  const sizes = rest as readonly number[];
  const one = op.scalar("float32", 1);
  const ones = op.expand(one, typeof images === "number" ? op.ints([1, images]) : op.concat([op.ints([1]), op.dim(value, 0)], 0));
  return op.reshape(op.matmul(ones, op.reshape(value, [-1, elementCount(sizes)])), sizes);
}

/**
 * The sum over the images. On the CPU by a product: ReduceSum over the first axis takes twice as long (two images of two
 * million numbers). Other providers may multiply in fewer bits (TF32).
 */
export function imageSum(op: OpBuilder, value: Value): Value {
  const [images, ...sizes] = dimsOf(value);
  const byProduct = op.provider === "cpu" && value.dtype === "float32" && images !== 1 && isStatic(sizes) && elementCount(sizes) >= large;
  return byProduct ? imageSumByProduct(op, value) : imageSumByReduction(op, value);
}
