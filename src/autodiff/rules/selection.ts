/** Operators that select elements by position, or put them there: the gradient goes the other way. */

import type { Dim } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { sliceRange } from "../../ops/catalog/selection.ts";
import { constantInts, resolveAxis } from "../../ops/define.ts";
import { defineGradients, nonDifferentiable, type RuleContext } from "../registry.ts";
import { padsFor, placed, positionsOf, scatterAdd, scatterBySelection } from "./placing.ts";

/** Every element followed by `step - 1` zeros along the axis. */
function interleaved(op: OpBuilder, dy: Value, axis: number, step: number): Value {
  const rank = dimsOf(dy).length;
  const spread = op.pad(op.unsqueeze(dy, [axis + 1]), padsFor(rank + 1, axis + 1, 0, step - 1));
  const parts = Array.from({ length: rank }, (_, i) => (i === axis ? op.mul(op.dim(dy, i), step) : op.dim(dy, i)));
  return op.reshape(spread, op.concat(parts, 0));
}

/** Position of the first element that Slice takes along an axis, clamped as Slice does. */
function firstTaken(op: OpBuilder, x: Value, axis: number, start: number | undefined, startAtRunTime: () => Value, step: number): number | Value {
  const size = dimsOf(x)[axis] as Dim;
  if (start === 0 && step > 0) return 0;
  if (start !== undefined && typeof size === "number") return sliceRange(size, start, 0, step).start;
  const length = op.dim(x, axis);
  const first = start === undefined ? startAtRunTime() : op.ints([start]);
  const counted = start === undefined ? op.where(op.less(first, 0), op.add(first, length), first) : start < 0 ? op.add(first, length) : first;
  return op.max(op.min(counted, step > 0 ? length : op.sub(length, 1)), 0);
}

/** Zeros around and between `dy` along one axis, so that it lies where Slice took it from. */
function unsliceAxis(op: OpBuilder, x: Value, dy: Value, axis: number, first: number | Value, step: number): Value {
  const stride = Math.abs(step);
  const count = dimsOf(dy)[axis] as Dim;
  const upwards = step < 0 ? op.slice(dy, [{ axis, start: -1, step: -1 }]) : dy;
  const spread = stride === 1 ? upwards : interleaved(op, upwards, axis, stride);
  if (step > 0) return placed(op, x, spread, axis, first);
  if (count === 0) return placed(op, x, spread, axis, 0);
  if (typeof first === "number" && typeof count === "number") return placed(op, x, spread, axis, first - (count - 1) * stride);
  const last = op.sub(typeof first === "number" ? op.ints([first]) : first, op.mul(op.sub(op.dim(dy, axis), 1), stride));
  // An empty slice lies nowhere: without the bound its position may be beyond the end.
  return placed(op, x, spread, axis, op.min(last, op.dim(x, axis)));
}

function sliceGradient({ op, x: [x, starts], node, optional, dy }: RuleContext): Value {
  const count = Number(dimsOf(starts)[0]);
  const axes = optional(3) === undefined ? Array.from({ length: count }, (_, i) => i) : constantInts(optional(3));
  const steps = optional(4) === undefined ? axes?.map(() => 1) : constantInts(optional(4));
  if (axes === undefined || steps === undefined || Number.isNaN(count)) {
    return scatterBySelection(op, x, dy, (positions) => op.emit("Slice", [positions, ...node.inputs.slice(1)]));
  }
  const from = constantInts(starts);
  let result = dy;
  axes.forEach((given, i) => {
    const axis = resolveAxis("Slice", given, dimsOf(x).length);
    const step = steps[i] as number;
    const first = firstTaken(op, x, axis, from?.[i], () => op.slice(starts, [{ axis: 0, start: i, end: i + 1 }]), step);
    result = unsliceAxis(op, x, result, axis, first, step);
  });
  return result;
}

/** Gather along an axis, with indices of any rank, possibly counting from the end. */
function gatherGradient({ op, x: [x, indices], dy, attrs }: RuleContext<"Gather">): Value {
  const rank = dimsOf(x).length;
  const axis = resolveAxis("Gather", attrs.axis, rank);
  const around = (middle: Value) => [op.shape(x, 0, axis), middle, op.shape(x, axis + 1)].filter((part) => dimsOf(part)[0] !== 0);
  const single = constantInts(indices);
  const size = dimsOf(x)[axis];
  if (single?.length === 1 && typeof size === "number") {
    const at = (single[0] as number) < 0 ? (single[0] as number) + size : (single[0] as number);
    if (dimsOf(indices).length === 1) return op.pad(dy, padsFor(rank, axis, at, size - at - 1));
    const row = dimsOf(indices).length === 0 ? op.unsqueeze(dy, [axis]) : op.reshape(dy, op.concat(around(op.ints([1])), 0));
    return op.pad(row, padsFor(rank, axis, at, size - at - 1));
  }
  const rows = op.reshape(dy, op.concat(around(op.unsqueeze(op.emit("Size", [indices]), [0])), 0));
  return scatterAdd(op, x, rows, op.reshape(positionsOf(op, x, indices, axis), [-1]), axis);
}

/** Indices that GatherND reads behind `batch` dimensions, with those of the batch before them. */
function withBatch(op: OpBuilder, indices: Value, batch: number): Value {
  if (batch === 0) return indices;
  const rank = dimsOf(indices).length;
  const tail = op.concat([op.shape(indices, 0, rank - 1), op.ints([1])], 0);
  const grids = Array.from({ length: batch }, (_, axis) => {
    const numbers = op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(indices, axis), [0]), op.scalar("int64", 1)]);
    const along = op.unsqueeze(
      numbers,
      Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis),
    );
    return op.expand(along, tail);
  });
  return op.concat([...grids, indices], rank - 1);
}

interface Scatter {
  /** Elements of a tensor at the scattered positions. */
  readonly gather: (value: Value) => Value;
  /** A tensor with updates written to, or added at the positions. */
  readonly scatter: (onto: Value, updates: Value, reduction: "none" | "add") => Value;
  readonly reduction: string;
}

/** y is x with u written, added, multiplied in, or compared at the positions. */
function scatterGradient({ op, x: [x, , u], y: [y], dy }: RuleContext, { gather, scatter, reduction }: Scatter): (Value | undefined)[] {
  switch (reduction) {
    case "none":
      return [scatter(dy, op.filledLike(u, 0), "none"), undefined, gather(dy)];
    case "add":
      return [dy, undefined, gather(dy)];
    // y = x·Πu, so dy/dx = y/x and dy/du = y/u.
    case "mul": {
      const product = op.mul(dy, y);
      return [op.div(product, x), undefined, op.div(gather(product), u)];
    }
    // Shared among what attains the extremum, as a reduction does.
    default: {
      const kept = op.cast(op.equal(x, y), dy.dtype);
      const hits = op.cast(op.equal(u, gather(y)), dy.dtype);
      const share = op.div(dy, scatter(kept, hits, "add"));
      return [op.mul(share, kept), undefined, op.mul(gather(share), hits)];
    }
  }
}

export const selection = defineGradients({
  Slice: (context) => [sliceGradient(context)],
  Gather: (context) => [gatherGradient(context)],
  GatherElements({ op, x: [x, indices], dy, attrs }) {
    return [op.emit("ScatterElements", [op.filledLike(x, 0), indices, dy], { axis: attrs.axis, reduction: "add" })];
  },
  GatherND({ op, x: [x, indices], dy, attrs }) {
    return [op.emit("ScatterND", [op.filledLike(x, 0), withBatch(op, indices, attrs.batch_dims), dy], { reduction: "add" })];
  },
  ScatterElements(context) {
    const {
      op,
      x: [, indices],
      attrs,
    } = context;
    return scatterGradient(context, {
      gather: (value) => op.emit("GatherElements", [value, indices], { axis: attrs.axis }),
      scatter: (onto, updates, reduction) => op.emit("ScatterElements", [onto, indices, updates], { axis: attrs.axis, reduction }),
      reduction: attrs.reduction,
    });
  },
  ScatterND(context) {
    const {
      op,
      x: [, indices],
      attrs,
    } = context;
    return scatterGradient(context, {
      gather: (value) => op.emit("GatherND", [value, indices]),
      scatter: (onto, updates, reduction) => op.emit("ScatterND", [onto, indices, updates], { reduction }),
      reduction: attrs.reduction,
    });
  },
  Compress: ({ op, x: [x, condition], dy, attrs }) => [
    scatterBySelection(op, x, dy, (positions) => op.emit("Compress", [positions, condition], { axis: attrs.axis })),
  ],
  // Reversing twice changes nothing.
  ReverseSequence: ({ op, x: [, lengths], dy, attrs }) => [op.emit("ReverseSequence", [dy, lengths], attrs)],
  // y = off + (on - off)·hot, with values = [off, on].
  OneHot({ op, x: [indices, depth, values], dy, attrs }) {
    const plain = op.concat(
      [op.filledLike(op.slice(values, [{ axis: 0, start: 0, end: 1 }]), 0), op.filledLike(op.slice(values, [{ axis: 0, start: 1, end: 2 }]), 1)],
      0,
    );
    const hot = op.emit("OneHot", [indices, depth, plain], attrs);
    const on = op.reduceSum(op.mul(dy, hot));
    const off = op.sub(op.reduceSum(dy), on);
    return [undefined, undefined, op.concat([op.unsqueeze(off, [0]), op.unsqueeze(on, [0])], 0)];
  },
  NonZero: nonDifferentiable,
});
