/** Gradients of windowed pooling, for any number of dimensions, with static and with dynamic sizes. */

import { largestFloat32 } from "../../ir/dtype.ts";
import type { Attributes, Value } from "../../ir/graph.ts";
import { assert, bug } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { windowAxes } from "../catalog/network.ts";
import type { OpAttributes } from "../catalog.ts";
import type { WindowAxis } from "./conv-geometry.ts";
import { shiftedViews } from "./conv-weight-position.ts";
import { coveringPad, oneHotKernels, onesKernel, overlaid, restPadded, windowCounts, withoutChannels } from "./pool-windows.ts";

interface PoolOperands {
  readonly x: Value;
  readonly y: Value;
  readonly dy: Value;
}

/** The lowest finite float32: a padded element never wins. */
const lowest = -largestFloat32;

function axesOf(attrs: OpAttributes<"MaxPool"> | OpAttributes<"AveragePool">): readonly WindowAxis[] {
  assert(attrs.auto_pad === "NOTSET" || attrs.auto_pad === "VALID", "auto_pad is made explicit by normalization");
  return windowAxes(attrs, attrs.kernel_shape ?? bug("a pool without kernel_shape"));
}

/** Every provider runs this: the first position of each window that equals the maximum takes the gradient. */
function maxPoolByComparison(op: OpBuilder, axes: readonly WindowAxis[], channels: number, { x, y, dy }: PoolOperands): Value {
  const padded = coveringPad(op, axes, x, y, lowest);
  const unpadded = axes.map((axis) => ({ ...axis, padBegin: 0, padEnd: 0 }));
  let rest = dy;
  const parts = shiftedViews(op, { axes: unpadded, group: 1 }, padded, y).map((view, i, views) => {
    const hit = op.cast(op.equal(view, y), dy.dtype);
    const part = op.mul(rest, hit);
    // What an earlier position took is no longer there for a later one.
    if (i < views.length - 1) rest = op.sub(rest, part);
    return op.unsqueeze(part, [2]);
  });
  const maps = op.reshape(op.concat(parts, 2), op.concat([op.dim(dy, 0), op.ints([channels * parts.length]), op.shape(dy, 2)], 0));
  const [width = 1] = axes.map((axis) => axis.size);
  // Windows side by side need no sums; and a transposed convolution of one output a group is wrong on WebGPU (1.30).
  if (axes.length === 2 && width > 1 && areSideBySide(axes) && axes.every((axis) => axis.size === width)) {
    return restPadded(op, axes, x, op.emit("DepthToSpace", [maps], { blocksize: width, mode: "CRD" }));
  }
  return overlaid(
    op,
    axes,
    x,
    maps,
    oneHotKernels(
      op,
      axes.map((axis) => axis.size),
      channels,
    ),
    channels,
  );
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

export function maxPoolGradient(op: OpBuilder, attributes: Attributes, attrs: OpAttributes<"MaxPool">, operands: PoolOperands): Value {
  const channels = dimsOf(operands.x)[1];
  if (op.provider === "cpu" || typeof channels !== "number") {
    return maxPoolByIndices(op, { ...attributes, storage_order: { type: "int", value: 0 } }, operands);
  }
  return maxPoolByComparison(op, axesOf(attrs), channels, operands);
}

const areSideBySide = (axes: readonly WindowAxis[]): boolean =>
  axes.every((axis) => axis.stride === axis.size && axis.dilation === 1 && axis.padBegin === 0 && axis.padEnd === 0);

/** Windows side by side: every pixel lies in one, or behind the last one in none. */
function repeatedOverWindows(op: OpBuilder, axes: readonly WindowAxis[], x: Value, share: Value): Value {
  const between = axes.map((_, i) => 3 + 2 * i);
  const pairs = axes.flatMap((axis, i) => [op.dim(share, i + 2), op.ints([axis.size])]);
  const repeated = op.expand(op.unsqueeze(share, between), op.concat([op.shape(share, 0, 2), ...pairs], 0));
  const merged = op.concat([op.shape(share, 0, 2), op.mul(op.shape(share, 2), op.ints(axes.map((axis) => axis.size)))], 0);
  return restPadded(op, axes, x, op.reshape(repeated, merged));
}

/** Each pixel gets dy/count from every window it lies in. */
export function averagePoolGradient(op: OpBuilder, attrs: OpAttributes<"AveragePool">, x: Value, dy: Value): Value {
  const axes = axesOf(attrs);
  const sizes = axes.map((axis) => axis.size);
  const counted = attrs.count_include_pad !== 0;
  // A window at the border divides by what it really sees; with ceil_mode it may reach beyond the pads as well.
  const varying = attrs.ceil_mode !== 0 || (!counted && axes.some((axis) => axis.padBegin > 0 || axis.padEnd > 0));
  const share = op.div(dy, varying ? windowCounts(op, axes, x, dy, counted) : sizes.reduce((a, b) => a * b, 1));
  if (!varying && areSideBySide(axes)) {
    return repeatedOverWindows(op, axes, x, share);
  }
  const channels = dimsOf(x)[1];
  if (typeof channels === "number") return overlaid(op, axes, x, share, onesKernel(op, sizes, channels), channels);
  return op.reshapeLike(overlaid(op, axes, withoutChannels(op, x), withoutChannels(op, share), onesKernel(op, sizes), 1), x);
}
