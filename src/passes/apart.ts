/** Tensors that stay tensors of their own: no pass folds, shares or fuses through them. */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";

/** The value behind an Identity of its own, which is not in the builder's list of nodes to share. */
export function apart(op: OpBuilder, value: Value, name: string): Value {
  const node = { op: "Identity", domain: "", name, inputs: [value], attributes: {} };
  return op.draft.append(node, [{ dtype: value.dtype, shape: value.shape }], () => name).outputs[0] as Value;
}
