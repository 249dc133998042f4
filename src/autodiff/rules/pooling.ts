/** Pooling. */

import { isStatic, productOfDims } from "../../ir/dims.ts";
import { dimsOf } from "../../ops/builder.ts";
import { averagePoolGradient, maxPoolGradient } from "../../ops/lowerings/pool-gradient.ts";
import { defineGradients } from "../registry.ts";

export const pooling = defineGradients({
  MaxPool: ({ op, node, x: [x], y: [y], dy, attrs }) => [maxPoolGradient(op, node.attributes, attrs, { x, y, dy })],
  AveragePool: ({ op, x: [x], dy, attrs }) => [averagePoolGradient(op, attrs, x, dy)],
  GlobalAveragePool({ op, x: [x], dy }) {
    const spatial = dimsOf(x).slice(2);
    if (isStatic(spatial)) return [op.expandLike(op.div(dy, productOfDims(spatial) as number), x)];
    const count = spatial.map((_, i) => op.squeeze(op.dim(x, i + 2), [0])).reduce((a, b) => op.mul(a, b));
    return [op.expandLike(op.div(dy, op.cast(count, dy.dtype)), x)];
  },
  // Shared among the elements that attain the maximum, as a reduction does.
  GlobalMaxPool({ op, x: [x], y: [y], dy }) {
    const axes = dimsOf(x)
      .slice(2)
      .map((_, i) => i + 2);
    const hits = op.cast(op.equal(x, y), dy.dtype);
    return [op.mul(hits, op.div(dy, op.reduceSum(hits, axes, true)))];
  },
});
