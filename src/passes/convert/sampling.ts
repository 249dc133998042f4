/** Sampling that opset 18 lacks or spells differently, as gathers and products. */

import { isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { windowAxes } from "../../ops/catalog/network.ts";
import { extent } from "../../ops/lowerings/conv-geometry.ts";
import { gridOptions, gridSample as sampleByGathers } from "../../ops/lowerings/grid-sample.ts";
import { counting } from "../../ops/lowerings/interpolation.ts";
import { sampled } from "../../ops/lowerings/taps.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type Converter, defineConverters } from "./registry.ts";

/** Opset 20 renamed the modes and brought volumes. */
const gridSample: Converter = ({ op, input, int, string, same }) => {
  const attrs = { mode: string("mode", "bilinear"), padding_mode: string("padding_mode", "zeros"), align_corners: int("align_corners", 0) };
  if (dimsOf(input(0)).length !== 4) return [sampleByGathers(op, input(0), input(1), gridOptions(attrs))];
  const renamed: Readonly<Record<string, string>> = { linear: "bilinear", cubic: "bicubic" };
  return same({ attrs: { ...attrs, mode: renamed[attrs.mode] ?? attrs.mode } });
};

/** Centers of n cells that cover -1 to 1, or with corners aligned n points from -1 to 1: (2i + 1 - n)/n or /(n - 1). */
function centers(op: OpBuilder, size: Value, alignCorners: boolean): Value {
  const n = op.cast(size, "float32");
  const doubled = op.sub(op.add(op.mul(counting(op, size), 2), 1), n);
  return op.div(doubled, alignCorners ? op.max(op.sub(n, 1), 1) : n);
}

/** Every position of the picture, as (x, y, 1) or (x, y, z, 1), times theta transposed. */
const affineGrid: Converter = ({ op, input, int }) => {
  const [theta, size] = [input(0), input(1)];
  const rank = (dimsOf(size)[0] as number) - 2;
  const spatial = op.slice(size, [{ axis: 0, start: 2, end: rank + 2 }]);
  const along = Array.from({ length: rank }, (_, axis) => {
    const length = op.squeeze(op.slice(spatial, [{ axis: 0, start: axis, end: axis + 1 }]), [0]);
    const behind = Array.from({ length: rank - axis }, (_, i) => i + 1);
    const repeated = op.expand(op.unsqueeze(centers(op, length, int("align_corners", 0) !== 0), behind), op.concat([spatial, op.ints([1])], 0));
    return op.reshape(repeated, [-1, 1]);
  });
  const ones = op.filledLike(along[0] as Value, 1);
  const points = op.concat([...along.toReversed(), ones], 1);
  const moved = op.matmul(points, op.transpose(theta, [0, 2, 1]));
  return [op.reshape(moved, op.concat([op.slice(size, [{ axis: 0, start: 0, end: 1 }]), spatial, op.ints([rank])], 0))];
};

/** Where each kernel position of each window lies without offsets: `[k, rows, columns]` along one axis. */
function windowPositions(op: OpBuilder, axis: ReturnType<typeof windowAxes>[number], taps: readonly number[], outputs: readonly number[], at: 0 | 1): Value {
  const [rows, columns] = outputs as [number, number];
  const values = taps.flatMap((tap) =>
    Array.from({ length: rows * columns }, (_, p) => {
      const window = at === 0 ? Math.floor(p / columns) : p % columns;
      return window * axis.stride - axis.padBegin + tap * axis.dilation;
    }),
  );
  return op.constant(tensorOf("float32", [taps.length * rows * columns], values));
}

/** Deformable convolution: bilinear samples at the moved positions, as columns of one product per group. */
const deformConv: Converter = ({ op, node, x, input, int, ints }) => {
  const [image, weight, offset] = [input(0), input(1), input(2)];
  const kernel = ints("kernel_shape") ?? (dimsOf(weight).slice(2) as readonly number[]);
  if (kernel.length !== 2 || !isStatic(image.shape) || !isStatic(weight.shape)) {
    throw new OhemgenError("DeformConv of other than two dimensions, or of a dynamic size", {
      code: "E131",
      where: node.name,
      hint: "Fix the size with --input-shape.",
    });
  }
  const axes = windowAxes({ auto_pad: "NOTSET", dilations: ints("dilations"), pads: ints("pads"), strides: ints("strides") }, kernel);
  const [n, c, ...sizes] = image.shape as [number, number, number, number];
  const outputs = axes.map((axis, i) => Math.floor(((sizes[i] as number) + axis.padBegin + axis.padEnd - extent(axis)) / axis.stride) + 1);
  const [group, offsetGroup, m] = [int("group", 1), int("offset_group", 1), weight.shape[0] as number];
  const [kh, kw] = kernel as [number, number];
  const [k, p] = [kh * kw, outputs.reduce((a, b) => a * b, 1)];
  const taps = Array.from({ length: k }, (_, i) => i);
  const moves = op.reshape(offset, [n * offsetGroup, k, 2, p]);
  const positions = axes.map((axis, at) => {
    const move = op.reshape(op.slice(moves, [{ axis: 2, start: at, end: at + 1 }]), [n * offsetGroup, k * p]);
    const along = taps.map((tap) => (at === 0 ? Math.floor(tap / kw) : tap % kw));
    return op.add(move, windowPositions(op, axis, along, outputs, at === 0 ? 0 : 1));
  });
  const rows = op.reshape(image, [n * offsetGroup, c / offsetGroup, ...sizes]);
  let columns = sampled(op, rows, positions, { mode: "linear", padding: "zeros", alignCorners: false });
  if (x[4] !== undefined) columns = op.mul(columns, op.reshape(x[4], [n * offsetGroup, 1, k * p]));
  const perGroup = op.reshape(columns, [n, group, (c / group) * k, p]);
  const product = op.matmul(op.reshape(weight, [group, m / group, (c / group) * k]), perGroup);
  const result = op.reshape(product, [n, m, ...outputs]);
  return [x[3] === undefined ? result : op.add(result, op.unsqueeze(x[3], [1, 2]))];
};

export const sampling = defineConverters({ GridSample: gridSample, AffineGrid: affineGrid, DeformConv: deformConv });
