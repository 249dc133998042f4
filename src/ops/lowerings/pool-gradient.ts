/** Gradients of windowed pooling. */

import { addDims, type Dim, isStatic, mulDims, subDims } from "../../ir/dims.ts";
import type { Attributes, Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { assert, bug, OhemgenError } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { OpAttributes } from "../catalog.ts";
import { windowAxes } from "../catalog/network.ts";
import { convAttributes, type ConvGeometry, extent } from "./conv-geometry.ts";
import { shiftedViews } from "./conv-weight-position.ts";
import type { Provider } from "./provider.ts";

interface PoolOperands {
  readonly x: Value;
  readonly y: Value;
  readonly dy: Value;
}

/** The lowest finite float32: a padded element never wins. */
const lowest = -3.4028234663852886e38;

/**
 * Geometry with pads that make every window fit exactly, so that `size(y)` windows cover the padded input: with
 * `ceil_mode` the end is padded further, with a remainder it is cut.
 */
function coveringGeometry(attrs: OpAttributes<"MaxPool"> | OpAttributes<"AveragePool">, x: Value, y: Value): ConvGeometry | undefined {
  assert(attrs.auto_pad === "NOTSET" || attrs.auto_pad === "VALID", "auto_pad is made explicit by normalization");
  const kernel = attrs.kernel_shape ?? bug("a pool without kernel_shape");
  const axes = windowAxes(attrs, kernel).map((axis, i) => {
    const span = addDims(mulDims(subDims(dimsOf(y)[i + 2] as Dim, 1), axis.stride), extent(axis));
    return { ...axis, padEnd: subDims(subDims(span, dimsOf(x)[i + 2] as Dim), axis.padBegin) };
  });
  if (!isStatic(axes.map((axis) => axis.padEnd))) return undefined;
  return { axes: axes as ConvGeometry["axes"], group: 1 };
}

/** Puts one map per kernel position, `[N, C·k, …]`, back where the positions lie: a transposed one-hot convolution. */
function placed(op: OpBuilder, geometry: ConvGeometry, maps: Value, channels: number): Value {
  const sizes = geometry.axes.map((axis) => axis.size);
  const count = sizes.reduce((a, b) => a * b, 1);
  const eye = Float32Array.from({ length: count * count }, (_, i) => (i % (count + 1) === 0 ? 1 : 0));
  const unit = op.constant(tensorOf("float32", [1, count, 1, ...sizes], eye), "grad/one_hot_kernel");
  const weight = op.reshape(op.expand(unit, op.ints([channels, count, 1, ...sizes])), [channels * count, 1, ...sizes]);
  return op.emit("ConvTranspose", [maps, weight], convAttributes({ ...geometry, group: channels }));
}

/** Every provider runs this: the first position of each window that equals the maximum takes the gradient. */
function maxPoolByComparison(op: OpBuilder, geometry: ConvGeometry, { x, y, dy }: PoolOperands): Value {
  const channels = dimsOf(x)[1];
  if (typeof channels !== "number") return bug("a pool over an unknown number of channels");
  const pads = [0, 0, ...geometry.axes.map((axis) => axis.padBegin), 0, 0, ...geometry.axes.map((axis) => axis.padEnd)];
  const padded = op.pad(x, pads, lowest);
  const unpadded: ConvGeometry = { ...geometry, axes: geometry.axes.map((axis) => ({ ...axis, padBegin: 0, padEnd: 0 })) };
  let rest = dy;
  const parts = shiftedViews(op, unpadded, padded, y).map((view, i, views) => {
    const hit = op.cast(op.equal(view, y), dy.dtype);
    const part = op.mul(rest, hit);
    // What an earlier position took is no longer there for a later one.
    if (i < views.length - 1) rest = op.sub(rest, part);
    return op.unsqueeze(part, [2]);
  });
  const maps = op.reshape(op.concat(parts, 2), op.concat([op.dim(dy, 0), op.ints([channels * parts.length]), op.shape(dy, 2)], 0));
  return placed(op, geometry, maps, channels);
}

/** The positions of the maxima come from the runtime's own kernel; flat over N·C·H·W. */
function maxPoolByIndices(op: OpBuilder, attributes: Attributes, { x, y, dy }: PoolOperands): Value {
  const types = [
    { dtype: y.dtype, shape: y.shape },
    { dtype: "int64" as const, shape: y.shape },
  ];
  const indices = op.append("MaxPool", "", [x], attributes, types).outputs[1] as Value;
  const flat = op.expand(op.scalar(dy.dtype, 0), op.unsqueeze(op.emit("Size", [x]), [0]));
  const added = op.emit("ScatterElements", [flat, op.reshape(indices, [-1]), op.reshape(dy, [-1])], { axis: 0, reduction: "add" });
  return op.reshapeLike(added, x);
}

export function maxPoolGradient(op: OpBuilder, attributes: Attributes, attrs: OpAttributes<"MaxPool">, operands: PoolOperands, provider: Provider): Value {
  const geometry = coveringGeometry(attrs, operands.x, operands.y);
  const channels = dimsOf(operands.x)[1];
  if (provider === "cpu" || geometry === undefined || typeof channels !== "number") {
    return maxPoolByIndices(op, { ...attributes, storage_order: { type: "int", value: 0 } }, operands);
  }
  return maxPoolByComparison(op, geometry, operands);
}

/** Each pixel gets dy/count from every window it lies in. */
export function averagePoolGradient(op: OpBuilder, attrs: OpAttributes<"AveragePool">, x: Value, dy: Value): Value {
  const geometry = coveringGeometry(attrs, x, dy);
  const channels = dimsOf(x)[1];
  if (geometry === undefined || typeof channels !== "number") {
    throw new OhemgenError("AveragePool over a dynamic size that its windows may not cover", {
      code: "E202",
      hint: "Fix the size with --input-shape.",
    });
  }
  const sizes = geometry.axes.map((axis) => axis.size);
  const count = sizes.reduce((a, b) => a * b, 1);
  // With count_include_pad = 0 a window at the border divides by the pixels it really sees.
  const padding = windowAxes(attrs, sizes).some((axis) => axis.padBegin > 0 || axis.padEnd > 0) || attrs.ceil_mode !== 0;
  const ones = op.filledLike(x, 1);
  const share =
    attrs.count_include_pad === 0 && padding
      ? op.emit("AveragePool", [ones], { ...averageAttributes(attrs), count_include_pad: 1 })
      : undefined;
  const seed = op.div(share === undefined ? dy : op.div(dy, share), count);
  const kernel = tensorOf("float32", [channels, 1, ...sizes], new Float32Array(channels * count).fill(1));
  return op.emit("ConvTranspose", [seed, op.constant(kernel, "grad/ones_kernel")], convAttributes({ ...geometry, group: channels }));
}

function averageAttributes(attrs: OpAttributes<"AveragePool">) {
  const { kernel_shape, strides, pads, ceil_mode } = attrs;
  return { kernel_shape, strides, pads, ceil_mode };
}

