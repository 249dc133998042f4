/** Windows of pooling: sums over them, the number of pixels in them, and the way back from windows to pixels. */

import { addDims, type Dim, isStatic, mulDims, subDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { convAttributes, extent, type WindowAxis } from "./conv-geometry.ts";
import { counting } from "./interpolation.ts";

export function onesKernel(op: OpBuilder, sizes: readonly number[], channels = 1): Value {
  const count = sizes.reduce((a, b) => a * b, channels);
  return op.constant(tensorOf("float32", [channels, 1, ...sizes], new Float32Array(count).fill(1)), "ones_kernel");
}

/** `[N, C, …]` as `[N·C, 1, …]`: one kernel for all channels, however many there are. */
export function withoutChannels(op: OpBuilder, x: Value): Value {
  return op.reshape(x, op.concat([op.mul(op.dim(x, 0), op.dim(x, 1)), op.ints([1]), op.shape(x, 2)], 0));
}

/** Sum over each window; pads count as 0. */
export function windowSums(op: OpBuilder, axes: readonly WindowAxis[], x: Value): Value {
  const kernel = onesKernel(
    op,
    axes.map((axis) => axis.size),
  );
  const sums = op.emit("Conv", [withoutChannels(op, x), kernel], convAttributes({ axes, group: 1 }));
  return op.reshape(sums, op.concat([op.shape(x, 0, 2), op.shape(sums, 2)], 0));
}

/** `[windows]`: how many positions of a window lie inside the input, with its declared pads or without. */
function countsAlong(op: OpBuilder, axis: WindowAxis, size: Value, windows: Value, withPads: boolean): Value {
  const first = op.sub(op.mul(counting(op, windows), axis.stride), axis.padBegin);
  const taps = op.constant(
    tensorOf(
      "float32",
      [1, axis.size],
      Float32Array.from({ length: axis.size }, (_, i) => i * axis.dilation),
    ),
  );
  const positions = op.add(op.unsqueeze(first, [1]), taps);
  const end = op.add(op.cast(size, "float32"), withPads ? axis.padEnd : 0);
  const inside = op.and(op.greaterOrEqual(positions, withPads ? -axis.padBegin : 0), op.less(positions, end));
  return op.reduceSum(op.cast(inside, "float32"), [1]);
}

/** Pixels in each window, in a shape that meets the spatial axes of y. */
export function windowCounts(op: OpBuilder, axes: readonly WindowAxis[], x: Value, y: Value, withPads: boolean): Value {
  const rank = axes.length;
  const counts = axes.map((axis, i) => {
    const size = (value: Value) => op.squeeze(op.dim(value, i + 2), [0]);
    const along = countsAlong(op, axis, size(x), size(y), withPads);
    return op.unsqueeze(
      along,
      Array.from({ length: rank - 1 - i }, (_, j) => j + 1),
    );
  });
  return counts.reduce((a, b) => op.mul(a, b));
}

/** Pixels that the windows reach beyond the end of x, per axis; negative where they leave a rest of x out. */
function overhang(axes: readonly WindowAxis[], x: Value, y: Value): readonly Dim[] {
  return axes.map((axis, i) => {
    const span = addDims(mulDims(subDims(dimsOf(y)[i + 2] as Dim, 1), axis.stride), extent(axis) - axis.padBegin);
    return subDims(span, dimsOf(x)[i + 2] as Dim);
  });
}

/** x with pads, filled with `value`, so that every window lies inside and the last one ends with it. */
export function coveringPad(op: OpBuilder, axes: readonly WindowAxis[], x: Value, y: Value, value: number): Value {
  const begin = [0, 0, ...axes.map((axis) => axis.padBegin), 0, 0];
  const ends = overhang(axes, x, y);
  if (isStatic(ends)) return op.pad(x, [...begin, ...ends], value);
  const strides = op.ints(axes.map((axis) => axis.stride));
  const reach = op.add(op.mul(op.sub(op.shape(y, 2), 1), strides), op.ints(axes.map((axis) => extent(axis) - axis.padBegin)));
  return op.emit("Pad", [x, op.concat([op.ints(begin), op.sub(reach, op.shape(x, 2))], 0), op.scalar(x.dtype, value)]);
}

/** One window per element of `maps` laid over pixels of the size of x and summed: a transposed convolution. */
export function overlaid(op: OpBuilder, axes: readonly WindowAxis[], x: Value, maps: Value, kernel: Value, group: number): Value {
  const ends = overhang(axes, x, maps);
  const zeros = axes.map(() => 0);
  if (isStatic(ends)) {
    const covered = axes.map((axis, i) => ({ ...axis, padEnd: Math.max(0, ends[i] as number) }));
    const full = op.emit("ConvTranspose", [maps, kernel], convAttributes({ axes: covered, group }));
    return op.pad(full, [0, 0, ...zeros, 0, 0, ...ends.map((end) => Math.max(0, -end))]);
  }
  const open = axes.map((axis) => ({ ...axis, padEnd: 0 }));
  return restPadded(op, axes, x, op.emit("ConvTranspose", [maps, kernel], convAttributes({ axes: open, group })));
}

/** Zeros behind what the windows cover, or a cut, to the spatial size of x. */
export function restPadded(op: OpBuilder, axes: readonly WindowAxis[], x: Value, covered: Value): Value {
  const begin = [0, 0, ...axes.map(() => 0), 0, 0];
  const ends = axes.map((_, i) => subDims(dimsOf(x)[i + 2] as Dim, dimsOf(covered)[i + 2] as Dim));
  if (isStatic(ends)) return op.pad(covered, [...begin, ...ends]);
  const pads = op.concat([op.ints(begin), op.sub(op.shape(x, 2), op.shape(covered, 2))], 0);
  const shape = [...dimsOf(covered).slice(0, 2), ...dimsOf(x).slice(2)];
  return op.append("Pad", "", [covered, pads], {}, [{ dtype: covered.dtype, shape }]).outputs[0] as Value;
}

/** Kernels that put map k of each channel at position k of the window: `[C·k, 1, …]`. */
export function oneHotKernels(op: OpBuilder, sizes: readonly number[], channels: number): Value {
  const count = sizes.reduce((a, b) => a * b, 1);
  const eye = Float32Array.from({ length: count * count }, (_, i) => (i % (count + 1) === 0 ? 1 : 0));
  const unit = op.constant(tensorOf("float32", [1, count, 1, ...sizes], eye), "one_hot_kernel");
  return op.reshape(op.expand(unit, op.ints([channels, count, 1, ...sizes])), [channels * count, 1, ...sizes]);
}
