/** Layers: matrix products, convolutions, pooling, normalization, resampling. */

import { addDims, ceilDivDims, type Dim, floorDivDims, mulDims, type Shape, shapeText, subDims } from "../../ir/dims.ts";
import { broadcastShapes, defineOp, float, type InferContext, int, ints, type OutputType, required, shapeError, string } from "../define.ts";

function matmulShape(context: InferContext<unknown>): Shape | undefined {
  const a = required(context, 0).shape;
  const b = required(context, 1).shape;
  if (a === undefined || b === undefined) return undefined;
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const [inner, outer] = [left.at(-1), right.at(-2)];
  if (typeof inner === "number" && typeof outer === "number" && inner !== outer) {
    throw shapeError("MatMul", `${shapeText(a)} times ${shapeText(b)}`);
  }
  const batch = broadcastShapes("MatMul", left.slice(0, -2), right.slice(0, -2), context.fresh) ?? [];
  const rows = a.length === 1 ? [] : [left.at(-2) as Dim];
  const columns = b.length === 1 ? [] : [right.at(-1) as Dim];
  return [...batch, ...rows, ...columns];
}

export interface WindowAttributes {
  readonly auto_pad: string;
  readonly dilations: readonly number[] | undefined;
  readonly pads: readonly number[] | undefined;
  readonly strides: readonly number[] | undefined;
}

/** Window geometry per spatial axis; `kernel` may be a weight's shape. */
export function windowAxes(attrs: WindowAttributes, kernel: readonly number[]) {
  const rank = kernel.length;
  return kernel.map((size, i) => ({
    size,
    stride: attrs.strides?.[i] ?? 1,
    dilation: attrs.dilations?.[i] ?? 1,
    padBegin: attrs.pads?.[i] ?? 0,
    padEnd: attrs.pads?.[i + rank] ?? 0,
  }));
}

function windowedDim(dim: Dim, axis: ReturnType<typeof windowAxes>[number], autoPad: string, ceil: boolean): Dim {
  if (autoPad.startsWith("SAME")) return ceilDivDims(dim, axis.stride);
  const extent = (axis.size - 1) * axis.dilation + 1;
  const pads = autoPad === "VALID" ? 0 : axis.padBegin + axis.padEnd;
  const room = addDims(dim, pads - extent);
  if (typeof room === "number" && room < 0) return 0;
  const count = addDims(ceil ? ceilDivDims(room, axis.stride) : floorDivDims(room, axis.stride), 1);
  // With ceil_mode the last window must begin inside the input or its left padding.
  if (ceil && typeof count === "number" && typeof dim === "number" && (count - 1) * axis.stride >= dim + axis.padBegin) return count - 1;
  return count;
}

type ConvAttributes = WindowAttributes & { kernel_shape: readonly number[] | undefined; group: number };

function kernelOf(context: InferContext<{ kernel_shape: readonly number[] | undefined }>): readonly number[] | undefined {
  const w = context.x[1]?.shape?.slice(2);
  const dims = context.attrs.kernel_shape ?? w;
  return dims?.every((dim) => typeof dim === "number") ? (dims as readonly number[]) : undefined;
}

function convShape(context: InferContext<ConvAttributes>): Shape | undefined {
  const x = required(context, 0).shape;
  const w = required(context, 1).shape;
  const kernel = kernelOf(context);
  if (x === undefined || w === undefined) return undefined;
  const [channels, perGroup] = [x[1], w[1]];
  if (typeof channels === "number" && typeof perGroup === "number" && channels !== perGroup * context.attrs.group) {
    throw shapeError("Conv", `input ${shapeText(x)} has ${channels} channels, weight ${shapeText(w)} takes ${perGroup * context.attrs.group}`);
  }
  const axes = kernel && windowAxes(context.attrs, kernel);
  const spatial = x.slice(2).map((dim, i) => {
    const axis = axes?.[i];
    return axis === undefined ? context.fresh() : windowedDim(dim, axis, context.attrs.auto_pad, false);
  });
  return [x[0] as Dim, w[0] as Dim, ...spatial];
}

type ConvTransposeAttributes = ConvAttributes & {
  output_padding: readonly number[] | undefined;
  output_shape: readonly number[] | undefined;
};

function convTransposeShape(context: InferContext<ConvTransposeAttributes>): Shape | undefined {
  const x = required(context, 0).shape;
  const w = required(context, 1).shape;
  const kernel = kernelOf(context);
  if (x === undefined || w === undefined) return undefined;
  const axes = kernel && windowAxes(context.attrs, kernel);
  const { auto_pad: autoPad, output_shape: given, output_padding: extra, group } = context.attrs;
  const spatial = x.slice(2).map((dim, i): Dim => {
    const axis = axes?.[i];
    if (given !== undefined) return given.at(i - (x.length - 2)) ?? context.fresh();
    if (axis === undefined) return context.fresh();
    if (autoPad.startsWith("SAME")) return mulDims(dim, axis.stride);
    const pads = autoPad === "VALID" ? 0 : axis.padBegin + axis.padEnd;
    const tail = (extra?.[i] ?? 0) + (axis.size - 1) * axis.dilation + 1 - pads;
    return addDims(mulDims(subDims(dim, 1), axis.stride), tail);
  });
  return [x[0] as Dim, mulDims(w[1] as Dim, group), ...spatial];
}

const windowSpecs = { auto_pad: string("NOTSET"), dilations: ints(), pads: ints(), strides: ints() };

function pooled(context: InferContext<WindowAttributes & { kernel_shape: readonly number[] | undefined; ceil_mode: number }>): OutputType[] {
  const { dtype, shape } = required(context, 0);
  const kernel = context.attrs.kernel_shape ?? [];
  const axes = windowAxes(context.attrs, kernel);
  const result = shape?.map((dim, i): Dim => {
    if (i < 2) return dim;
    const axis = axes[i - 2];
    return axis === undefined ? context.fresh() : windowedDim(dim, axis, context.attrs.auto_pad, context.attrs.ceil_mode !== 0);
  });
  return [
    { dtype, shape: result },
    { dtype: "int64", shape: result },
  ];
}

const globalPool = defineOp({
  attrs: { p: int(2) },
  infer: (context) => {
    const { dtype, shape } = required(context, 0);
    return [{ dtype, shape: shape?.map((dim, i) => (i < 2 ? dim : 1)) }];
  },
});

const sameAsInput = (context: InferContext<unknown>): OutputType[] => {
  const { dtype, shape } = required(context, 0);
  return [{ dtype, shape }];
};

export const network = {
  MatMul: defineOp({ attrs: {}, infer: (context) => [{ dtype: required(context, 0).dtype, shape: matmulShape(context) }] }),
  Gemm: defineOp({
    attrs: { alpha: float(1), beta: float(1), transA: int(0), transB: int(0) },
    infer: (context) => {
      const { dtype, shape: a } = required(context, 0);
      const b = required(context, 1).shape;
      if (a === undefined || b === undefined) return [{ dtype, shape: undefined }];
      return [{ dtype, shape: [a[context.attrs.transA ? 1 : 0] as Dim, b[context.attrs.transB ? 0 : 1] as Dim] }];
    },
  }),
  Conv: defineOp({
    attrs: { ...windowSpecs, group: int(1), kernel_shape: ints() },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: convShape(context) }],
  }),
  ConvTranspose: defineOp({
    attrs: { ...windowSpecs, group: int(1), kernel_shape: ints(), output_padding: ints(), output_shape: ints() },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: convTransposeShape(context) }],
  }),
  MaxPool: defineOp({ attrs: { ...windowSpecs, kernel_shape: ints(), ceil_mode: int(0), storage_order: int(0) }, infer: pooled }),
  AveragePool: defineOp({ attrs: { ...windowSpecs, kernel_shape: ints(), ceil_mode: int(0), count_include_pad: int(0) }, infer: pooled }),
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  BatchNormalization: defineOp({
    attrs: { epsilon: float(1e-5), momentum: float(0.9), training_mode: int(0) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const statistics = { dtype: context.x[3]?.dtype ?? dtype, shape: context.x[3]?.shape };
      return [{ dtype, shape }, statistics, statistics];
    },
  }),
  InstanceNormalization: defineOp({ attrs: { epsilon: float(1e-5) }, infer: sameAsInput }),
  LayerNormalization: defineOp({
    attrs: { axis: int(-1), epsilon: float(1e-5), stash_type: int(1) },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const from = shape === undefined || context.attrs.axis >= 0 ? context.attrs.axis : context.attrs.axis + shape.length;
      const statistics = { dtype, shape: shape?.map((dim, i) => (i < from ? dim : 1)) };
      return [{ dtype, shape }, statistics, statistics];
    },
  }),
  LpNormalization: defineOp({ attrs: { axis: int(-1), p: int(2) }, infer: sameAsInput }),
} as const;

/** Static kernel sizes of a convolution-like node. */
export function staticKernel(attrs: { kernel_shape: readonly number[] | undefined }, weight: Shape | undefined): readonly number[] | undefined {
  const dims = attrs.kernel_shape ?? weight?.slice(2);
  return dims?.every((dim) => typeof dim === "number") ? (dims as readonly number[]) : undefined;
}
