/** The sign as 1, 0 or -1, from comparisons: the WebGPU provider has no Sign. */

import type { Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../../ops/builder.ts";

export function signOf(op: OpBuilder, x: Value): Value {
  return op.sub(op.cast(op.greater(x, 0), x.dtype), op.cast(op.less(x, 0), x.dtype));
}
