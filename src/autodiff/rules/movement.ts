/** Operators that move, repeat or select elements: the gradient moves them back, or adds up the repetitions. */

import { type Dim, isStatic, subDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { constantInts, resolveAxis } from "../../ops/define.ts";
import { sliceRange } from "../../ops/catalog/movement.ts";
import { bug } from "../../support/errors.ts";
import { defineGradients, nonDifferentiable } from "../registry.ts";
import { unbroadcast } from "../unbroadcast.ts";

function inversePermutation(perm: readonly number[]): number[] {
  const inverse = new Array<number>(perm.length);
  perm.forEach((axis, i) => {
    inverse[axis] = i;
  });
  return inverse;
}

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

/** Zeros around `dy` so that it lies where Slice took it from: interleaved with zeros where it skipped. */
function unslice(op: OpBuilder, x: Value, dy: Value, starts: Value, axes: readonly number[], steps: readonly number[]): Value {
  const rank = dimsOf(x).length;
  const from = constantInts(starts);
  let result = dy;
  axes.forEach((given, i) => {
    const axis = resolveAxis("Slice", given, rank);
    result = unsliceAxis(op, x, result, axis, from?.[i], steps[i] as number, () => op.slice(starts, [{ axis: 0, start: i, end: i + 1 }]));
  });
  return result;
}

function unsliceAxis(op: OpBuilder, x: Value, dy: Value, axis: number, start: number | undefined, step: number, startAtRunTime: () => Value): Value {
  const size = dimsOf(x)[axis] as Dim;
  const piece = dimsOf(dy)[axis] as Dim;
  const rank = dimsOf(x).length;
  if (step === 1 && typeof size === "number" && typeof piece === "number" && start !== undefined) {
    const range = sliceRange(size, start, start < 0 ? 2 ** 31 : start + piece, 1);
    const before = range.start;
    return op.pad(dy, padsFor(rank, axis, before, size - before - piece));
  }
  if (step === 1 && start === 0 && typeof subDims(size, piece) === "number") {
    return op.pad(dy, padsFor(rank, axis, 0, subDims(size, piece) as number));
  }
  return scatterSlice(op, x, dy, axis, start, step, startAtRunTime);
}

export function padsFor(rank: number, axis: number, begin: number, end: number): number[] {
  const pads = new Array<number>(2 * rank).fill(0);
  pads[axis] = begin;
  pads[axis + rank] = end;
  return pads;
}

/** The general case: positions start, start + step, … along the axis, written into zeros. */
function scatterSlice(op: OpBuilder, x: Value, dy: Value, axis: number, start: number | undefined, step: number, startAtRunTime: () => Value): Value {
  const length = op.dim(x, axis);
  const first = start === undefined ? startAtRunTime() : op.ints([start]);
  const lowest = op.where(op.less(first, 0), op.add(first, length), first);
  const clamped = op.max(op.min(lowest, step > 0 ? length : op.sub(length, 1)), 0);
  const count = op.squeeze(op.dim(dy, axis), [0]);
  const steps = op.emit("Range", [op.scalar("int64", 0), count, op.scalar("int64", 1)]);
  const positions = op.add(op.mul(steps, step), clamped);
  return scatterAdd(op, x, dy, positions, axis);
}

/** `dy` added into zeros of the shape of `x`, its rows along `axis` at the given positions (a vector). */
export function scatterAdd(op: OpBuilder, x: Value, dy: Value, positions: Value, axis: number): Value {
  const rank = dimsOf(x).length;
  const order = [axis, ...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis)];
  const zeros = op.transpose(op.filledLike(x, 0), order);
  const added = op.emit("ScatterND", [zeros, op.unsqueeze(positions, [1]), op.transpose(dy, order)], { reduction: "add" });
  return op.transpose(added, inversePermutation(order));
}

/** Gather along an axis, with indices of any rank, possibly counting from the end. */
function ungather(op: OpBuilder, x: Value, indices: Value, dy: Value, axis: number): Value {
  const rank = dimsOf(x).length;
  const single = constantInts(indices);
  const size = dimsOf(x)[axis];
  if (single?.length === 1 && typeof size === "number") {
    const at = (single[0] as number) < 0 ? (single[0] as number) + size : (single[0] as number);
    const row = dimsOf(indices).length === 0 ? op.unsqueeze(dy, [axis]) : dy;
    const flat = dimsOf(indices).length <= 1 ? row : op.reshape(row, op.concat([op.shape(x, 0, axis), op.ints([1]), op.shape(x, axis + 1)], 0));
    return op.pad(flat, padsFor(rank, axis, at, size - at - 1));
  }
  const wide = indices.dtype === "int64" ? indices : op.cast(indices, "int64");
  const counted = op.where(op.less(wide, 0), op.add(wide, op.squeeze(op.dim(x, axis), [0])), wide);
  const positions = op.reshape(counted, [-1]);
  const parts = [op.shape(x, 0, axis), op.ints([-1]), op.shape(x, axis + 1)].filter((part) => dimsOf(part)[0] !== 0);
  return scatterAdd(op, x, op.emit("Reshape", [dy, op.concat(parts, 0)]), positions, axis);
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
  Slice({ op, x: [x, starts], optional, dy }) {
    const count = dimsOf(starts)[0];
    const axes = optional(3) === undefined ? Array.from({ length: Number(count) }, (_, i) => i) : constantInts(optional(3));
    const steps = optional(4) === undefined ? axes?.map(() => 1) : constantInts(optional(4));
    if (axes === undefined || steps === undefined) return bug("Slice with axes made at run time");
    return [unslice(op, x, dy, starts, axes, steps)];
  },
  Gather: ({ op, x: [x, indices], dy, attrs }) => [ungather(op, x, indices, dy, resolveAxis("Gather", attrs.axis, dimsOf(x).length))],
  GatherElements({ op, x: [x, indices], dy, attrs }) {
    return [op.emit("ScatterElements", [op.filledLike(x, 0), indices, dy], { axis: attrs.axis, reduction: "add" })];
  },
  Pad({ op, x: [x, pads], optional, dy, attrs }) {
    const amounts = constantInts(pads);
    if (attrs.mode !== "constant" || amounts === undefined || optional(3) !== undefined) return bug("Pad is brought to constant pads of all axes");
    const rank = dimsOf(x).length;
    const back = amounts.map((amount) => -amount);
    return [op.pad(dy, back.slice(0, 2 * rank))];
  },
  Tile({ op, x: [x, repeats], dy }) {
    const times = constantInts(repeats) ?? bug("Tile with repeats made at run time");
    const shape = times.flatMap((count, i) => [op.ints([count]), op.dim(x, i)]);
    const split = op.reshape(dy, op.concat(shape, 0));
    return [op.reduceSum(split, times.map((_, i) => 2 * i))];
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
  Range: nonDifferentiable,
  NonZero: nonDifferentiable,
  OneHot: nonDifferentiable,
});
