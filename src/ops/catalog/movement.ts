/** Operators that reshape, join, cut evenly or repeat whole tensors, and those that make tensors of sizes. */

import { addDims, ceilDivDims, type Dim, divideExactly, isStatic, mulDims, productOfDims, type Shape, shapeText, subDims } from "../../ir/dims.ts";
import { tensorNumbers } from "../../ir/tensor.ts";
import {
  broadcastShapes,
  constantInts,
  contentOf,
  defineOp,
  type InferContext,
  int,
  ints,
  joinedContent,
  optionalInt,
  optionalTensor,
  required,
  resolveAxis,
  shapeError,
  sizesOf,
  string,
} from "../define.ts";

export function unknownDims(rank: number | undefined, fresh: () => string): Shape | undefined {
  return rank === undefined ? undefined : Array.from({ length: rank }, fresh);
}

/** Rank a shape-giving vector asks for. */
function vectorLength(shape: Shape | undefined): number | undefined {
  const [length] = shape ?? [];
  return shape?.length === 1 && typeof length === "number" ? length : undefined;
}

function reshaped(context: InferContext<{ allowzero: number }>): Shape | undefined {
  const { shape } = required(context, 0);
  const target = sizesOf(context.x[1], context.fresh);
  if (target === undefined) return unknownDims(vectorLength(context.x[1]?.shape), context.fresh);
  const result = target.map((dim, i): Dim => {
    if (dim !== 0 || context.attrs.allowzero !== 0) return dim;
    return shape === undefined ? context.fresh() : (shape[i] ?? 0);
  });
  const hole = result.indexOf(-1);
  const known = productOfDims(result.filter((_, i) => i !== hole));
  if (hole < 0) {
    const total = shape === undefined ? undefined : productOfDims(shape);
    if (typeof total === "number" && typeof known === "number" && total !== known) {
      throw shapeError("Reshape", `${shapeText(shape)} does not fit into ${shapeText(result)}`);
    }
    return result;
  }
  // The part that input and target share drops out: [N,C,H,W] to [N,C,-1] is H*W.
  const rest = shape === undefined ? undefined : divideExactly(productOfDims(shape), known);
  if (rest === undefined && typeof known === "number" && isStatic(shape)) {
    throw shapeError("Reshape", `${shapeText(shape)} does not fit into ${shapeText(result)}`);
  }
  result[hole] = rest ?? context.fresh();
  return result;
}

function axesOf(context: InferContext<unknown>, rank: number): readonly number[] | undefined {
  return constantInts(context.x[1])?.map((axis) => resolveAxis(context.op, axis, rank));
}

function concatenated(context: InferContext<{ axis: number }>) {
  const first = required(context, 0);
  const shapes = context.x.map((value) => value?.shape);
  const known = shapes.find((shape) => shape !== undefined);
  if (known === undefined || shapes.some((shape) => shape === undefined)) return { dtype: first.dtype, shape: undefined };
  const axis = resolveAxis("Concat", context.attrs.axis, known.length);
  const shape = known.map((dim, i): Dim => {
    const dims = shapes.map((other) => other?.[i] as Dim);
    if (i === axis) return dims.reduce(addDims);
    const numbers = dims.filter((other) => typeof other === "number");
    if (numbers.some((other) => other !== numbers[0])) {
      throw shapeError("Concat", `shapes ${shapes.map(shapeText).join(", ")} differ outside axis ${axis}`);
    }
    return numbers[0] ?? dim;
  });
  return { dtype: first.dtype, shape, ...(known.length === 1 ? joinedContent(context.x) : {}) };
}

function splitSizes(context: InferContext<{ axis: number; num_outputs: number | undefined }>) {
  const data = required(context, 0);
  const sizes = contentOf(context.x[1]);
  const { shape } = data;
  return Array.from({ length: context.outputs }, (_, i) => {
    if (shape === undefined) return { dtype: data.dtype, shape: undefined };
    const axis = resolveAxis("Split", context.attrs.axis, shape.length);
    const total = shape[axis] as Dim;
    const even = ceilDivDims(total, context.outputs);
    const last = subDims(total, mulDims(even, context.outputs - 1));
    const size = sizes?.[i] ?? (context.x[1] !== undefined ? context.fresh() : i < context.outputs - 1 ? even : last);
    return { dtype: data.dtype, shape: shape.map((dim, j) => (j === axis ? size : dim)) };
  });
}

export const movement = {
  Reshape: defineOp({
    attrs: { allowzero: int(0) },
    infer: (context) => {
      const x = required(context, 0);
      const shape = reshaped(context);
      if (shape === undefined || shape.length > 1) return [{ dtype: x.dtype, shape }];
      return [{ dtype: x.dtype, shape, content: x.content, parts: x.parts }];
    },
  }),
  Flatten: defineOp({
    attrs: { axis: int(1) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      if (shape === undefined) return [{ dtype, shape: [context.fresh(), context.fresh()] }];
      const axis = context.attrs.axis < 0 ? context.attrs.axis + shape.length : context.attrs.axis;
      return [{ dtype, shape: [productOfDims(shape.slice(0, axis)), productOfDims(shape.slice(axis))] }];
    },
  }),
  Squeeze: defineOp({
    attrs: {},
    infer: (context) => {
      const { dtype, shape, content, parts } = required(context, 0);
      if (shape === undefined) return [{ dtype, shape: undefined }];
      const axes = context.x[1] === undefined ? undefined : axesOf(context, shape.length);
      if (context.x[1] !== undefined && axes === undefined) return [{ dtype, shape: undefined }];
      if (axes === undefined && shape.some((dim) => typeof dim === "string")) return [{ dtype, shape: undefined }];
      return [{ dtype, shape: shape.filter((dim, i) => (axes === undefined ? dim !== 1 : !axes.includes(i))), content, parts }];
    },
  }),
  Unsqueeze: defineOp({
    attrs: {},
    infer: (context) => {
      const { dtype, shape, content } = required(context, 0);
      const axes = constantInts(context.x[1]);
      if (shape === undefined || axes === undefined) return [{ dtype, shape: undefined }];
      const rank = shape.length + axes.length;
      const at = new Set(axes.map((axis) => resolveAxis("Unsqueeze", axis, rank)));
      let next = 0;
      const result = Array.from({ length: rank }, (_, i): Dim => (at.has(i) ? 1 : (shape[next++] as Dim)));
      return [{ dtype, shape: result, content: rank <= 1 ? content : undefined }];
    },
  }),
  Transpose: defineOp({
    attrs: { perm: ints() },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      if (shape === undefined) return [{ dtype, shape }];
      const perm = context.attrs.perm ?? shape.map((_, i) => shape.length - 1 - i);
      if (perm.length !== shape.length) throw shapeError("Transpose", `perm [${perm}] for rank ${shape.length}`);
      return [{ dtype, shape: perm.map((axis) => shape[axis] ?? context.fresh()) }];
    },
  }),
  Concat: defineOp({ attrs: { axis: int(0) }, infer: (context) => [concatenated(context)] }),
  Split: defineOp({ attrs: { axis: int(0), num_outputs: optionalInt() }, infer: splitSizes }),
  Expand: defineOp({
    attrs: {},
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const target = sizesOf(context.x[1], context.fresh);
      if (target !== undefined) return [{ dtype, shape: broadcastShapes("Expand", shape, target, context.fresh) }];
      const rank = vectorLength(context.x[1]?.shape);
      const known = rank === undefined || shape === undefined ? undefined : Math.max(rank, shape.length);
      return [{ dtype, shape: unknownDims(known, context.fresh) }];
    },
  }),
  Tile: defineOp({
    attrs: {},
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const repeats = sizesOf(context.x[1], context.fresh);
      if (repeats === undefined) return [{ dtype, shape: unknownDims(shape?.length, context.fresh) }];
      return [{ dtype, shape: shape?.map((dim, i) => mulDims(dim, repeats[i] ?? 1)) }];
    },
  }),
  Pad: defineOp({
    attrs: { mode: string("constant") },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const pads = contentOf(context.x[1]);
      const axes = context.x[3] === undefined ? shape?.map((_, i) => i) : constantInts(context.x[3]);
      if (shape === undefined || pads === undefined || axes === undefined) {
        return [{ dtype, shape: unknownDims(shape?.length, context.fresh) }];
      }
      const result = [...shape];
      axes.forEach((axis, i) => {
        const at = resolveAxis("Pad", axis, shape.length);
        result[at] = addDims(addDims(result[at] as Dim, pads[i] as Dim), pads[i + axes.length] as Dim);
      });
      return [{ dtype, shape: result }];
    },
  }),
  DepthToSpace: defineOp({
    attrs: { blocksize: int(1), mode: string("DCR") },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const [n, c, h, w] = shape ?? [];
      const block = context.attrs.blocksize;
      if (n === undefined || c === undefined || h === undefined || w === undefined) return [{ dtype, shape: undefined }];
      return [{ dtype, shape: [n, divideExactly(c, block * block) ?? context.fresh(), mulDims(h, block), mulDims(w, block)] }];
    },
  }),
  SpaceToDepth: defineOp({
    attrs: { blocksize: int(1) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const [n, c, h, w] = shape ?? [];
      const block = context.attrs.blocksize;
      if (n === undefined || c === undefined || h === undefined || w === undefined) return [{ dtype, shape: undefined }];
      const part = (dim: Dim) => divideExactly(dim, block) ?? context.fresh();
      return [{ dtype, shape: [n, mulDims(c, block * block), part(h), part(w)] }];
    },
  }),
  Shape: defineOp({
    attrs: { start: int(0), end: optionalInt() },
    infer: (context) => {
      const { shape } = required(context, 0);
      if (shape === undefined) return [{ dtype: "int64", shape: [context.fresh()] }];
      const content = shape.slice(context.attrs.start, context.attrs.end);
      return [{ dtype: "int64", shape: [content.length], content }];
    },
  }),
  ConstantOfShape: defineOp({
    attrs: { value: optionalTensor() },
    infer: (context) => {
      const dtype = context.attrs.value?.dtype ?? "float32";
      const target = sizesOf(context.x[0], context.fresh);
      if (target === undefined) return [{ dtype, shape: unknownDims(vectorLength(context.x[0]?.shape), context.fresh) }];
      const fill = context.attrs.value === undefined ? 0 : tensorNumbers(context.attrs.value)[0];
      const small = target.length === 1 && typeof target[0] === "number" && target[0] <= 64 && dtype === "int64";
      const content = small ? Array.from({ length: target[0] as number }, () => fill as number) : undefined;
      return [{ dtype, shape: [...target], content }];
    },
  }),
  Range: defineOp({
    attrs: {},
    infer: (context) => {
      const [start, limit, delta] = context.x.map((value) => contentOf(value)?.[0]);
      const { dtype } = required(context, 0);
      if (typeof start === "number" && typeof limit === "number" && typeof delta === "number") {
        return [{ dtype, shape: [Math.max(Math.ceil((limit - start) / delta), 0)] }];
      }
      if (start === undefined || limit === undefined || delta !== 1) return [{ dtype, shape: [context.fresh()] }];
      return [{ dtype, shape: [subDims(limit, start)] }];
    },
  }),
  Trilu: defineOp({
    attrs: { upper: int(1) },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: required(context, 0).shape }],
  }),
} as const;
