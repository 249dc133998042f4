/** Operators that reshape, join, cut or repeat: the gradient undoes the arrangement, or adds up the repetitions. */

import { type Dim, isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { resolveAxis } from "../../ops/define.ts";
import { bug } from "../../support/errors.ts";
import { defineGradients, nonDifferentiable } from "../registry.ts";
import { unbroadcast } from "../unbroadcast.ts";
import { inversePermutation } from "./placing.ts";

/** Pieces of `dy` along an axis, one per input, each as long as that input. */
function pieces(op: OpBuilder, dy: Value, inputs: readonly Value[], axis: number): Value[] {
  const sizes = inputs.map((value) => dimsOf(value)[axis] as Dim);
  if (isStatic(sizes)) {
    let start = 0;
    return (sizes as readonly number[]).map((size) => {
      const piece = op.slice(dy, [{ axis, start, end: start + size }]);
      start += size;
      return piece;
    });
  }
  let start = op.ints([0]);
  return inputs.map((value) => {
    const end = op.add(start, op.dim(value, axis));
    const piece = op.emit("Slice", [dy, start, end, op.ints([axis])]);
    start = end;
    return piece;
  });
}

const reshapeBack = ({ op, x: [x], dy }: { op: OpBuilder; x: readonly [Value, ...Value[]]; dy: Value }) => [op.reshapeLike(dy, x)];

export const movement = defineGradients({
  Reshape: reshapeBack,
  Flatten: reshapeBack,
  Squeeze: reshapeBack,
  Unsqueeze: reshapeBack,
  Transpose({ op, x: [x], dy, attrs }) {
    const perm = attrs.perm ?? dimsOf(x).map((_, i) => dimsOf(x).length - 1 - i);
    return [op.transpose(dy, inversePermutation(perm))];
  },
  Expand: ({ op, x: [x], dy }) => [unbroadcast(op, dy, x)],
  Concat: ({ op, node, dy, attrs }) => {
    const axis = resolveAxis("Concat", attrs.axis, dimsOf(dy).length);
    return pieces(op, dy, node.inputs as readonly Value[], axis);
  },
  Split({ op, y, dys, node, attrs }) {
    const parts = node.outputs.map((_, i) => dys[i] ?? op.filledLike(y[i] ?? bug("Split without an output"), 0));
    return [op.concat(parts, attrs.axis)];
  },
  // dy read as [repeat, size] per axis, summed over the repeats.
  Tile({ op, x: [x, repeats], dy }) {
    const pairs = op.concat([op.unsqueeze(repeats, [1]), op.unsqueeze(op.shape(x), [1])], 1);
    const split = op.reshape(dy, op.reshape(pairs, [-1]));
    const summed = op.reduceSum(
      split,
      dimsOf(x).map((_, i) => 2 * i),
    );
    return [op.reshapeLike(summed, x)];
  },
  DepthToSpace({ op, x: [x], dy, attrs }) {
    const [n, b] = [op.dim(x, 0), op.ints([attrs.blocksize])];
    const [h, w] = [op.dim(x, 2), op.dim(x, 3)];
    // dy is [N, C', h, b, w, b]; DCR keeps the block before the channel, CRD after it.
    const split = op.reshape(dy, op.concat([n, op.dim(dy, 1), h, b, w, b], 0));
    return [op.reshapeLike(op.transpose(split, attrs.mode === "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]), x)];
  },
  SpaceToDepth: ({ op, dy, attrs }) => [op.emit("DepthToSpace", [dy], { blocksize: attrs.blocksize, mode: "DCR" })],
  Trilu({ op, dy, optional, attrs }) {
    return [op.emit("Trilu", [dy, optional(1)], { upper: attrs.upper })];
  },
  Shape: nonDifferentiable,
  ConstantOfShape: nonDifferentiable,
  // y_i = start + i·delta; the limit only says how many.
  Range({ op, x: [start, , delta], dy }) {
    const steps = op.cast(op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(dy, 0), [0]), op.scalar("int64", 1)]), dy.dtype);
    return [op.reshapeLike(op.reduceSum(dy), start), undefined, op.reshapeLike(op.reduceSum(op.mul(dy, steps)), delta)];
  },
});
