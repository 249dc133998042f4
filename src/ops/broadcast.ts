/**
 * Single numbers against tensors whose last axes are 1. The CPU runtime walks over the axes of both operands from the
 * last, and begins with what it finds there: 1 against 1 starts runs of one element each, which cost six times as much as
 * one run (Add of a scalar to `[2048, 512, 1, 1]`). A number of as many axes begins at the first
 * axis that differs.
 */

import { elementCount, isStatic, type Shape } from "../ir/dims.ts";
import type { Value } from "../ir/graph.ts";

/** Operators that broadcast their inputs element by element. */
const broadcasting = new Set("Add Sub Mul Div Pow Mod Max Min Sum Mean PRelu Where And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual".split(" "));

/** Elements from which on runs of one cost more than a node. */
const large = 1 << 12;

function trailingOnes(shape: Shape | undefined): number {
  const dims = shape ?? [];
  let count = 0;
  while (count < dims.length && dims[dims.length - 1 - count] === 1) count += 1;
  return count;
}

const isLarge = (shape: Shape) => !isStatic(shape) || elementCount(shape) >= large;

/**
 * The inputs with their single numbers in as many axes as it takes.
 *
 * @param reshaped a value in another shape of one element
 */
export function widened(
  op: string,
  inputs: readonly (Value | undefined)[],
  reshaped: (value: Value, shape: readonly number[]) => Value,
): readonly (Value | undefined)[] {
  if (!broadcasting.has(op)) return inputs;
  let ones = 0;
  for (const value of inputs) {
    const count = value?.shape && isLarge(value.shape) ? trailingOnes(value.shape) : 0;
    if (count > ones && count < (value?.shape?.length ?? 0)) ones = count;
  }
  if (ones === 0) return inputs;
  const isShort = (shape: Shape | undefined) => shape !== undefined && shape.length <= ones && shape.every((dim) => dim === 1);
  return inputs.map((value) =>
    value && isShort(value.shape)
      ? reshaped(
          value,
          Array.from({ length: ones + 1 }, () => 1),
        )
      : value,
  );
}
