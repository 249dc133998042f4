/** Operators that reduce or rank along axes. */

import { type Dim, isStatic, productOfDims, type Shape } from "../../ir/dims.ts";
import { constantInts, contentOf, defineOp, type InferContext, int, required, resolveAxis } from "../define.ts";
import { unknownDims } from "./movement.ts";

type ReduceAttributes = { keepdims: number; noop_with_empty_axes: number };

function reduced(context: InferContext<ReduceAttributes>) {
  const { dtype, shape } = required(context, 0);
  const given = context.x[1];
  const axes = given === undefined ? [] : constantInts(given);
  if (shape === undefined) return [{ dtype, shape: undefined }];
  const rank = shape.length;
  if (axes === undefined) {
    if (context.attrs.keepdims) return [{ dtype, shape: shape.map(() => context.fresh()) }];
    const [count] = given?.shape ?? [];
    const kept = typeof count === "number" && count > 0 ? Math.max(0, rank - count) : undefined;
    return [{ dtype, shape: unknownDims(kept, context.fresh) }];
  }
  if (axes.length === 0 && context.attrs.noop_with_empty_axes) return [{ dtype, shape }];
  const at = new Set(axes.length === 0 ? shape.keys() : axes.map((axis) => resolveAxis(context.op, axis, rank)));
  const result = context.attrs.keepdims ? shape.map((dim, i) => (at.has(i) ? 1 : dim)) : shape.filter((_, i) => !at.has(i));
  const content = contentOf(context.x[0]);
  const product = context.op === "ReduceProd" && content && rank === 1 && at.has(0) ? [productOfDims(content)] : undefined;
  return [{ dtype, shape: result, content: product }];
}

/** The shape without axes of one element, along which there is nothing to reduce; `undefined` where there is. */
export function withoutUnits(shape: Shape | undefined, axes: readonly number[]): readonly number[] | undefined {
  if (!isStatic(shape)) return undefined;
  const at = axes.map((axis) => (axis < 0 ? axis + shape.length : axis));
  return at.every((axis) => shape[axis] === 1) ? shape.filter((_, i) => !at.includes(i)) : undefined;
}

const reduce = defineOp({ attrs: { keepdims: int(1), noop_with_empty_axes: int(0) }, infer: reduced });

const argReduce = defineOp({
  attrs: { axis: int(0), keepdims: int(1), select_last_index: int(0) },
  infer: (context) => {
    const { shape } = required(context, 0);
    if (shape === undefined) return [{ dtype: "int64", shape }];
    const axis = resolveAxis(context.op, context.attrs.axis, shape.length);
    const keep = context.attrs.keepdims !== 0;
    return [{ dtype: "int64", shape: keep ? shape.map((dim, i) => (i === axis ? 1 : dim)) : shape.filter((_, i) => i !== axis) }];
  },
});

export const reduction = {
  ReduceL1: reduce,
  ReduceL2: reduce,
  ReduceLogSum: reduce,
  ReduceLogSumExp: reduce,
  ReduceMax: reduce,
  ReduceMean: reduce,
  ReduceMin: reduce,
  ReduceProd: reduce,
  ReduceSum: reduce,
  ReduceSumSquare: reduce,
  ArgMax: argReduce,
  ArgMin: argReduce,
  TopK: defineOp({
    attrs: { axis: int(-1), largest: int(1), sorted: int(1) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const k: Dim = contentOf(context.x[1])?.[0] ?? context.fresh();
      if (shape === undefined) {
        return [
          { dtype, shape },
          { dtype: "int64", shape },
        ];
      }
      const axis = resolveAxis("TopK", context.attrs.axis, shape.length);
      const result = shape.map((dim, i) => (i === axis ? k : dim));
      return [
        { dtype, shape: result },
        { dtype: "int64", shape: result },
      ];
    },
  }),
} as const;

/** Axes of a reduction: constant ones resolved against the rank; `undefined` when made at run time. */
export function reductionAxes(context: { op: string; x: InferContext<unknown>["x"] }, rank: number): readonly number[] | undefined {
  const given = context.x[1];
  const axes = given === undefined ? [] : constantInts(given);
  if (axes === undefined) return undefined;
  return axes.length === 0 ? Array.from({ length: rank }, (_, i) => i) : axes.map((axis) => resolveAxis(context.op, axis, rank));
}
