/** Pools that opset 18 lacks or that few runtimes have kernels for, as sums over windows or scattered elements. */

import { isStatic } from "../../ir/dims.ts";
import { largestFloat32 } from "../../ir/dtype.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { windowAxes } from "../../ops/catalog/network.ts";
import { constantInts } from "../../ops/define.ts";
import { convAttributes, extent, type WindowAxis } from "../../ops/lowerings/conv-geometry.ts";
import { counting } from "../../ops/lowerings/interpolation.ts";
import { windowCounts, windowSums } from "../../ops/lowerings/pool-windows.ts";
import { OhemgenError } from "../../support/errors.ts";
import { explicitPads, impliedPads } from "./layers.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

function declaredAxes(context: ConvertContext): readonly WindowAxis[] {
  const { ints } = context;
  const attrs = { auto_pad: "NOTSET", dilations: ints("dilations"), pads: impliedPads(context), strides: ints("strides") };
  return windowAxes(attrs, ints("kernel_shape") ?? []);
}

/** With `ceil_mode` the end is padded as far as the last window reaches, which has to begin inside input or pads. */
function reachingAxes({ node, input, int }: ConvertContext, axes: readonly WindowAxis[]): readonly WindowAxis[] {
  if (int("ceil_mode", 0) === 0) return axes;
  const sizes = dimsOf(input(0)).slice(2);
  if (!isStatic(sizes)) {
    throw new OhemgenError(`${node.op} with ceil_mode and a dynamic size`, { code: "E131", where: node.name, hint: "Fix the size with --input-shape." });
  }
  return axes.map((axis, i) => {
    const size = sizes[i] as number;
    let last = Math.ceil((size + axis.padBegin + axis.padEnd - extent(axis)) / axis.stride);
    if (last * axis.stride >= size + axis.padBegin) last -= 1;
    return { ...axis, padEnd: last * axis.stride + extent(axis) - size - axis.padBegin };
  });
}

/** Dilated windows came with opset 19: the mean is a sum by convolution over the pixels that count. */
const averagePool: Converter = (context) => {
  const { op, input, int, ints } = context;
  if (ints("dilations")?.every((dilation) => dilation === 1) ?? true) return explicitPads(context);
  const axes = declaredAxes(context);
  const sums = windowSums(op, reachingAxes(context, axes), input(0));
  return [op.div(sums, windowCounts(op, axes, input(0), sums, int("count_include_pad", 0) !== 0))];
};

/** |x|^p */
function magnitude(op: OpBuilder, x: Value, p: number): Value {
  if (p === 2) return op.mul(x, x);
  return p === 1 ? op.abs(x) : op.pow(op.abs(x), p);
}

function root(op: OpBuilder, x: Value, p: number): Value {
  if (p === 2) return op.sqrt(x);
  return p === 1 ? x : op.pow(x, 1 / p);
}

/** (Σ |x|^p)^(1/p) over each window. */
const lpPool: Converter = (context) => {
  const { op, input, int } = context;
  const p = int("p", 2);
  return [root(op, windowSums(op, reachingAxes(context, declaredAxes(context)), magnitude(op, input(0), p)), p)];
};

const globalLpPool: Converter = ({ op, input, int }) => {
  const p = int("p", 2);
  const axes = dimsOf(input(0))
    .slice(2)
    .map((_, i) => i + 2);
  return [root(op, op.reduceSum(magnitude(op, input(0), p), axes, true), p)];
};

/** Elements put at their flat positions in zeros of the size before the pool. */
const maxUnpool: Converter = (context) => {
  const { op, input, x } = context;
  const axes = declaredAxes(context);
  const tail = op.ints(axes.map((axis) => axis.size - axis.padBegin - axis.padEnd));
  const strides = op.ints(axes.map((axis) => axis.stride));
  const spatial = op.add(op.mul(op.sub(op.shape(input(0), 2), 1), strides), tail);
  const shape = op.concat([op.shape(input(0), 0, 2), spatial], 0);
  const count = op.emit("ReduceProd", [shape, op.ints([0])], { keepdims: 1 });
  const zeros = op.expand(op.scalar(input(0).dtype, 0), count);
  const flat = op.emit("ScatterElements", [zeros, op.reshape(input(1), [-1]), op.reshape(input(0), [-1])], { axis: 0 });
  const unpooled = op.reshape(flat, shape);
  if (x[2] === undefined) return [unpooled];
  // Positions count in the size that follows from the windows; a larger output has zeros behind it.
  return [op.emit("Pad", [unpooled, op.concat([op.mul(shape, 0), op.sub(x[2], shape)], 0)])];
};

/** `[R, bins, size]`: which pixels of an axis lie in each bin of each region, whose ends count. */
function pixelsOfBins(op: OpBuilder, first: Value, last: Value, bins: number, size: Value): Value {
  const length = op.max(op.add(op.sub(last, first), 1), 1);
  const bin = op.div(length, bins);
  const steps = op.constant(
    tensorOf(
      "float32",
      [1, bins],
      Float32Array.from({ length: bins }, (_, i) => i),
    ),
  );
  const begin = op.add(op.floor(op.mul(steps, bin)), first);
  const end = op.add(op.emit("Ceil", [op.mul(op.add(steps, 1), bin)]), first);
  const pixel = counting(op, size);
  return op.and(op.greaterOrEqual(pixel, op.unsqueeze(begin, [2])), op.less(pixel, op.unsqueeze(end, [2])));
}

/** The largest element of each bin, of the rows first, then of the columns; a bin without pixels gives 0. */
const maxRoiPool: Converter = ({ op, input, ints, float }) => {
  const [x, regions] = [input(0), input(1)];
  const [rows, columns] = ints("pooled_shape") as readonly [number, number];
  const column = (at: number) => op.slice(regions, [{ axis: 1, start: at, end: at + 1 }]);
  const corner = (at: number) => op.floor(op.add(op.mul(column(at), float("spatial_scale", 1)), 0.5));
  const sizeOf = (axis: number) => op.cast(op.squeeze(op.dim(x, axis), [0]), "float32");
  const inRow = pixelsOfBins(op, corner(2), corner(4), rows, sizeOf(2));
  const inColumn = pixelsOfBins(op, corner(1), corner(3), columns, sizeOf(3));
  const pictures = op.gather(x, op.cast(op.squeeze(column(0), [1]), "int64"), 0);
  const lowest = -largestFloat32;
  const acrossRows = op.reduceMax(op.where(op.unsqueeze(inRow, [1, 4]), op.unsqueeze(pictures, [2]), lowest), [3]);
  const across = op.reduceMax(op.where(op.unsqueeze(inColumn, [1, 2]), op.unsqueeze(acrossRows, [3]), lowest), [4]);
  return [op.where(op.greater(across, lowest), across, 0)];
};

/** `[k, L]`: where each element of a column lies in the padded picture, counted row by row. */
function columnPositions(op: OpBuilder, axes: readonly { taps: Value; starts: Value; size: Value }[]): Value {
  return axes.reduce(
    (before, { taps, starts, size }) => {
      const along = op.add(op.unsqueeze(taps, [1]), op.unsqueeze(starts, [0]));
      const positions = op.add(op.unsqueeze(op.mul(before, size), [1, 3]), op.unsqueeze(along, [0, 2]));
      return op.reshape(positions, op.concat([op.mul(op.dim(before, 0), op.dim(along, 0)), op.mul(op.dim(before, 1), op.dim(along, 1))], 0));
    },
    op.reshape(op.ints([0]), [1, 1]),
  );
}

/** Col2Im where the size or the blocks are made at run time: every element is added where its position says. */
function scatteredColumns({ op, input, ints }: ConvertContext): Value {
  const [columns, image, block] = [input(0), input(1), input(2)];
  const rank = dimsOf(image)[0] as number;
  const pads = ints("pads") ?? new Array<number>(2 * rank).fill(0);
  const begins = op.ints(pads.slice(0, rank));
  const padded = op.add(image, op.ints(pads.slice(rank).map((end, i) => end + (pads[i] as number))));
  const part = (x: Value, axis: number) => op.slice(x, [{ axis: 0, start: axis, end: axis + 1 }]);
  const steps = (count: Value, step: number) => op.mul(op.emit("Range", [op.scalar("int64", 0), op.squeeze(count, [0]), op.scalar("int64", 1)]), step);
  const axes = Array.from({ length: rank }, (_, axis) => {
    const [stride, dilation] = [ints("strides")?.[axis] ?? 1, ints("dilations")?.[axis] ?? 1];
    const [size, taps] = [part(padded, axis), part(block, axis)];
    const windows = op.add(op.div(op.sub(size, op.add(op.mul(op.sub(taps, 1), dilation), 1)), stride), 1);
    return { taps: steps(taps, dilation), starts: steps(windows, stride), size };
  });
  const at = op.reshape(columnPositions(op, axes), [-1]);
  const updates = op.reshape(columns, op.concat([op.dim(columns, 0), op.ints([-1]), op.dim(at, 0)], 0));
  const count = op.emit("ReduceProd", [padded, op.ints([0])], { keepdims: 1 });
  const zeros = op.expand(op.scalar(columns.dtype, 0), op.concat([op.shape(updates, 0, 2), count], 0));
  const added = op.emit("ScatterElements", [zeros, op.expandLike(at, updates), updates], { axis: 2, reduction: "add" });
  const whole = op.reshape(added, op.concat([op.shape(updates, 0, 2), padded], 0));
  return op.emit("Slice", [whole, begins, op.add(begins, image), op.ints(axes.map((_, axis) => axis + 2))]);
}

/** Columns `[N, C·k, L]` laid back over the picture: a transposed convolution of one-hot kernels. */
const columnsToImage: Converter = (context) => {
  const { op, input, ints } = context;
  const [image, block] = [constantInts(input(1)), constantInts(input(2))];
  if (image === undefined || block === undefined) return [scatteredColumns(context)];
  const axes = windowAxes({ auto_pad: "NOTSET", dilations: ints("dilations"), pads: ints("pads"), strides: ints("strides") }, block);
  const room = axes.map((axis, i) => (image[i] as number) + axis.padBegin + axis.padEnd - extent(axis));
  const blocks = axes.map((axis, i) => Math.floor((room[i] as number) / axis.stride) + 1);
  const count = block.reduce((a, b) => a * b, 1);
  const eye = Float32Array.from({ length: count * count }, (_, i) => (i % (count + 1) === 0 ? 1 : 0));
  const kernel = op.constant(tensorOf("float32", [count, 1, ...block], eye), "one_hot_kernel");
  const maps = op.reshape(input(0), [-1, count, ...blocks]);
  const full = op.emit("ConvTranspose", [maps, kernel], convAttributes({ axes, group: 1 }));
  const rest = axes.map((axis, i) => (room[i] as number) % axis.stride);
  const whole = op.pad(full, [0, 0, ...axes.map(() => 0), 0, 0, ...rest]);
  return [op.reshape(whole, op.concat([op.dim(input(0), 0), op.ints([-1, ...image])], 0))];
};

export const pooling = defineConverters({
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalLpPool: globalLpPool,
  MaxUnpool: maxUnpool,
  MaxRoiPool: maxRoiPool,
  Col2Im: columnsToImage,
});
