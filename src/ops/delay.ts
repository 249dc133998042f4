/** Values that wait: the runtime keeps no order but that of data, so what has to come later reads a zero made of what comes first. */

import { elementCount, isStatic } from "../ir/dims.ts";
import type { Value } from "../ir/graph.ts";
import { bug } from "../support/errors.ts";
import type { OpBuilder } from "./builder.ts";

/** Elements below which an addition costs less than the nodes of a view. */
const small = 1 << 14;

/**
 * The value, once the zero is known. On the CPU it is a view of itself whose shape depends on the zero, which copies nothing;
 * other providers have no shapes where they have tensors, so there the zero is added.
 *
 * @param value of floats, or bool
 * @param zero float scalar that is 0, or NaN
 */
export function delayed(op: OpBuilder, value: Value, zero: Value): Value {
  if (zero.constant !== undefined) return value;
  if (op.provider !== "cpu" || (isStatic(value.shape) && elementCount(value.shape) < small)) {
    return value.dtype === "bool" ? op.and(value, op.equal(zero, 0)) : op.add(value, zero);
  }
  // Not the zero itself: as an integer NaN is anything.
  const nothing = op.reshape(op.cast(op.greater(zero, 0), "int64"), [1]);
  const sizes = op.add(isStatic(value.shape) ? op.ints(value.shape) : op.shape(value), nothing);
  return op.append("Reshape", "", [value, sizes], {}, [{ dtype: value.dtype, shape: value.shape }]).outputs[0] ?? bug("Reshape without an output");
}
