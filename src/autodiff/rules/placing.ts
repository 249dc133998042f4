/** Putting a gradient back where its elements came from: zeros around it, or scattered into zeros. */

import { type Dim, isStatic, type Shape } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { constantInts } from "../../ops/define.ts";

export function inversePermutation(perm: readonly number[]): number[] {
  const inverse = new Array<number>(perm.length);
  perm.forEach((axis, i) => {
    inverse[axis] = i;
  });
  return inverse;
}

export function padsFor(rank: number, axis: number, begin: number, end: number): number[] {
  const pads = new Array<number>(2 * rank).fill(0);
  pads[axis] = begin;
  pads[axis + rank] = end;
  return pads;
}

const withDim = (shape: Shape, axis: number, dim: Dim) => shape.map((own, i) => (i === axis ? dim : own));

/**
 * `part` from position `begin` on along an axis that is as long as that of `x`, zeros elsewhere; what lies beyond
 * the end is cut.
 */
export function placed(op: OpBuilder, x: Value, part: Value, axis: number, begin: number | Value): Value {
  const rank = dimsOf(part).length;
  const [size, length] = [dimsOf(x)[axis] as Dim, dimsOf(part)[axis] as Dim];
  const known = typeof begin === "number" ? begin : constantInts(begin)?.[0];
  if (known !== undefined && typeof size === "number" && typeof length === "number") {
    return op.pad(part, padsFor(rank, axis, known, size - known - length));
  }
  const first = typeof begin === "number" ? op.ints([begin]) : begin;
  const end = op.sub(op.sub(op.dim(x, axis), op.dim(part, axis)), first);
  const none = (count: number) => (count > 0 ? [op.ints(new Array<number>(count).fill(0))] : []);
  const pads = op.concat([...none(axis), first, ...none(rank - 1), end, ...none(rank - 1 - axis)], 0);
  return op.append("Pad", "", [part, pads], {}, [{ dtype: part.dtype, shape: withDim(dimsOf(part), axis, size) }]).outputs[0] as Value;
}

/** Rows of `dy` along `axis` added into zeros as long as `x` there, at the given positions (a vector, none negative). */
export function scatterAdd(op: OpBuilder, x: Value, dy: Value, positions: Value, axis: number): Value {
  const rank = dimsOf(dy).length;
  const order = [axis, ...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis)];
  const shape = withDim(dimsOf(dy), axis, dimsOf(x)[axis] as Dim);
  const sizes = shape.map((dim, i) => (typeof dim === "number" ? op.ints([dim]) : op.dim(i === axis ? x : dy, i)));
  const target = isStatic(shape)
    ? op.ints(order.map((i) => shape[i] as number))
    : op.concat(
        order.map((i) => sizes[i] as Value),
        0,
      );
  const zeros = op.expand(op.scalar(dy.dtype, 0), target);
  const added = op.emit("ScatterND", [zeros, op.unsqueeze(positions, [1]), op.transpose(dy, order)], { reduction: "add" });
  return op.transpose(added, inversePermutation(order));
}

/** Indices that may count from the end, as positions below the length of the axis of `x`. */
export function positionsOf(op: OpBuilder, x: Value, indices: Value, axis: number): Value {
  const wide = indices.dtype === "int64" ? indices : op.cast(indices, "int64");
  return op.where(op.less(wide, 0), op.add(wide, op.squeeze(op.dim(x, axis), [0])), wide);
}

/** Any selection of elements: applied to the numbers 0, 1, 2 … it says where each element came from. */
export function scatterBySelection(op: OpBuilder, x: Value, dy: Value, select: (positions: Value) => Value): Value {
  const count = op.emit("Size", [x]);
  const numbers = op.emit("Range", [op.scalar("int64", 0), count, op.scalar("int64", 1)]);
  const from = op.reshape(select(op.reshapeLike(numbers, x)), [-1]);
  const zeros = op.expand(op.scalar(dy.dtype, 0), op.unsqueeze(count, [0]));
  const added = op.emit("ScatterElements", [zeros, from, op.reshape(dy, [-1])], { axis: 0, reduction: "add" });
  return op.reshapeLike(added, x);
}
