/** Operators that select elements by position, or put them there. */

import { ceilDivDims, type Dim } from "../../ir/dims.ts";
import { constantInts, contentOf, defineOp, type InferContext, int, knownElements, optionalInt, partsOf, required, resolveAxis, string } from "../define.ts";
import { unknownDims } from "./movement.ts";

function gathered(context: InferContext<{ axis: number }>) {
  const data = required(context, 0);
  const indices = required(context, 1);
  if (data.shape === undefined || indices.shape === undefined) return { dtype: data.dtype, shape: undefined };
  const axis = resolveAxis("Gather", context.attrs.axis, data.shape.length);
  const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
  const from = partsOf(data);
  const at = constantInts(indices)?.map((i) => (i < 0 && from ? i + from.length : i));
  if (!from || !at?.every((i) => i < from.length) || data.shape.length !== 1 || indices.shape.length > 1) return { dtype: data.dtype, shape };
  return { dtype: data.dtype, shape, ...knownElements(at.map((i) => from[i])) };
}

/** Length of start:end:step on an axis, clamped as ONNX and NumPy do. */
export function sliceRange(length: number, start: number, end: number, step: number): { start: number; count: number } {
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value < 0 ? value + length : value, low), high);
  const first = step > 0 ? clamp(start, 0, length) : clamp(start, 0, length - 1);
  const last = step > 0 ? clamp(end, 0, length) : clamp(end, -1, length - 1);
  return { start: first, count: Math.max(0, Math.ceil((last - first) / step)) };
}

function slicedDim(dim: Dim, start: Dim | undefined, end: Dim | undefined, step: number, fresh: () => string): Dim {
  if (typeof start !== "number" || end === undefined) return fresh();
  if (typeof dim === "number" && typeof end === "number") return sliceRange(dim, start, end, step).count;
  if (typeof dim !== "string") return fresh();
  const toEnd = (typeof end === "number" && end >= 2 ** 31 - 1) || end === dim;
  // x[::-1] and x[a:] of a dynamic axis keep a known size; a start beyond the end is left to the runtime.
  if (step < 0 && start === -1 && typeof end === "number" && end <= -(2 ** 31 - 1)) return ceilDivDims(dim, -step);
  return step > 0 && toEnd && start === 0 ? ceilDivDims(dim, step) : fresh();
}

function sliced(context: InferContext<unknown>) {
  const data = required(context, 0);
  const starts = contentOf(context.x[1]);
  const ends = contentOf(context.x[2]);
  if (data.shape === undefined) return { dtype: data.dtype, shape: undefined };
  const rank = data.shape.length;
  const axes = context.x[3] === undefined ? starts?.map((_, i) => i) : constantInts(context.x[3]);
  const steps = context.x[4] === undefined ? axes?.map(() => 1) : constantInts(context.x[4]);
  if (axes === undefined || steps === undefined) return { dtype: data.dtype, shape: unknownDims(rank, context.fresh) };
  const shape = [...data.shape];
  axes.forEach((axis, i) => {
    const at = resolveAxis("Slice", axis, rank);
    shape[at] = slicedDim(shape[at] as Dim, starts?.[i], ends?.[i], steps[i] as number, context.fresh);
  });
  const [start, end, step] = [starts?.[0], ends?.[0], steps[0]];
  const from = partsOf(data);
  if (from && rank === 1 && typeof start === "number" && typeof end === "number" && step !== undefined) {
    const range = sliceRange(from.length, start, end, step);
    return { dtype: data.dtype, shape, ...knownElements(Array.from({ length: range.count }, (_, i) => from[range.start + i * step])) };
  }
  return { dtype: data.dtype, shape };
}

/** Elements are moved or changed in place. */
const sameAsFirst = (context: InferContext<unknown>) => {
  const { dtype, shape } = required(context, 0);
  return [{ dtype, shape }];
};

export const selection = {
  Slice: defineOp({ attrs: {}, infer: (context) => [sliced(context)] }),
  Gather: defineOp({ attrs: { axis: int(0) }, infer: (context) => [gathered(context)] }),
  GatherElements: defineOp({
    attrs: { axis: int(0) },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: required(context, 1).shape }],
  }),
  GatherND: defineOp({
    attrs: { batch_dims: int(0) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const indices = required(context, 1).shape;
      const depth = indices?.at(-1);
      if (shape === undefined || indices === undefined || typeof depth !== "number") return [{ dtype, shape: undefined }];
      return [{ dtype, shape: [...indices.slice(0, -1), ...shape.slice(context.attrs.batch_dims + depth)] }];
    },
  }),
  ScatterElements: defineOp({
    attrs: { axis: int(0), reduction: string("none") },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: required(context, 0).shape }],
  }),
  ScatterND: defineOp({
    attrs: { reduction: string("none") },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: required(context, 0).shape }],
  }),
  NonZero: defineOp({
    attrs: {},
    infer: (context) => [{ dtype: "int64", shape: [required(context, 0).shape?.length ?? context.fresh(), context.fresh()] }],
  }),
  OneHot: defineOp({
    attrs: { axis: int(-1) },
    infer: (context) => {
      const { shape } = required(context, 0);
      const depth = contentOf(context.x[1])?.[0] ?? context.fresh();
      const { dtype } = required(context, 2);
      if (shape === undefined) return [{ dtype, shape }];
      const axis = resolveAxis("OneHot", context.attrs.axis, shape.length + 1);
      return [{ dtype, shape: [...shape.slice(0, axis), depth, ...shape.slice(axis)] }];
    },
  }),
  Compress: defineOp({
    attrs: { axis: optionalInt() },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const { axis } = context.attrs;
      if (axis === undefined) return [{ dtype, shape: [context.fresh()] }];
      const at = shape === undefined ? axis : resolveAxis("Compress", axis, shape.length);
      return [{ dtype, shape: shape?.map((dim, i) => (i === at ? context.fresh() : dim)) }];
    },
  }),
  ReverseSequence: defineOp({ attrs: { batch_axis: int(1), time_axis: int(0) }, infer: sameAsFirst }),
} as const;
