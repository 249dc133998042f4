/** Gradients of maxima and minima: shared equally among the elements that attain them, as PyTorch's amax does. */

import type { Value } from "../../ir/graph.ts";
import type { RuleContext } from "../registry.ts";

/** Max and Min of several tensors, elementwise. */
export function shareAmongTies({ op, node, y: [y], dy }: RuleContext): (Value | undefined)[] {
  const inputs = node.inputs as readonly Value[];
  const hits = inputs.map((x) => op.cast(op.equal(x, y), dy.dtype));
  const count = op.sum(hits);
  const part = inputs.length === 1 ? dy : op.div(dy, count);
  return hits.map((hit) => op.mul(part, hit));
}
