/** Weight gradient in any number of dimensions, with any stride: one strided view of x per position of the kernel. */

import { addDims, type Dim, mulDims, subDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { type ConvGeometry, type ConvOperands, inGroups, kernelPositions } from "./conv-geometry.ts";
import { imageSum } from "./image-sum.ts";

/** x as each kernel position sees it, in the spatial size of dy: `[N, C, …]` per position. */
export function shiftedViews(op: OpBuilder, { axes }: ConvGeometry, x: Value, dy: Value): Value[] {
  const pads = [0, 0, ...axes.map((axis) => axis.padBegin), 0, 0, ...axes.map((axis) => axis.padEnd)];
  const padded = op.pad(x, pads);
  const spatial = axes.map((_, i) => i + 2);
  // The last pixel a position sees lies (size(dy) - 1)·stride behind its first.
  const reach = axes.map((axis, i): Dim => addDims(mulDims(subDims(dimsOf(dy)[i + 2] as Dim, 1), axis.stride), 1));
  return kernelPositions(axes.map((axis) => axis.size)).map((at) => {
    const starts = axes.map((axis, i) => (at[i] as number) * axis.dilation);
    if (reach.every((dim) => typeof dim === "number")) {
      return op.slice(
        padded,
        axes.map((axis, i) => ({
          axis: i + 2,
          start: starts[i] as number,
          end: (starts[i] as number) + (reach[i] as number),
          step: axis.stride,
        })),
      );
    }
    const steps = op.ints(axes.map((axis) => axis.stride));
    const ends = op.add(op.add(op.mul(op.sub(op.shape(dy, 2), 1), steps), 1), op.ints(starts));
    const shape = [...dimsOf(x).slice(0, 2), ...dimsOf(dy).slice(2)];
    const node = op.append("Slice", "", [padded, op.ints(starts), ends, op.ints(spatial), steps], {}, [{ dtype: x.dtype, shape }]);
    return node.outputs[0] as Value;
  });
}

/** One product per position: k² products of `[M/g × pixels]` and `[pixels × C/g]`. */
export function weightGradientByPosition(op: OpBuilder, geometry: ConvGeometry, { x, w, dy }: ConvOperands): Value {
  const { group, axes } = geometry;
  const [m, perGroup] = dimsOf(w) as [number, number];
  const seed = inGroups(op, dy, group, m / group);
  const parts = shiftedViews(op, geometry, x, dy).map((view) => {
    const product = op.matmul(seed, op.transpose(inGroups(op, view, group, perGroup), [0, 1, 3, 2]));
    return op.reshape(imageSum(op, product), [m, perGroup, 1]);
  });
  return op.reshape(op.concat(parts, 2), [m, perGroup, ...axes.map((axis) => axis.size)]);
}

/** All positions side by side as channels, and one product: for layers with few input channels. One group only. */
export function weightGradientByColumns(op: OpBuilder, geometry: ConvGeometry, { x, w, dy }: ConvOperands): Value {
  const [m, c, ...kernel] = dimsOf(w) as readonly number[] as [number, number, ...number[]];
  const views = shiftedViews(op, geometry, x, dy);
  const columns = inGroups(op, op.concat(views, 1), 1, views.length * c);
  const product = op.matmul(inGroups(op, dy, 1, m), op.transpose(columns, [0, 1, 3, 2]));
  const byPosition = op.reshape(imageSum(op, product), [m, views.length, c]);
  return op.reshape(op.transpose(byPosition, [0, 2, 1]), [m, c, ...kernel]);
}
