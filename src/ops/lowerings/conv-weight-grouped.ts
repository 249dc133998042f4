/**
 * Weight gradient of a depthwise convolution with a stride: a convolution in which batch and channels become groups and
 * dy the kernel, with strides and dilations swapped: dW[i] = Σ_h dy[h]·x[h·s + i·d - p].
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { ConvGeometry, ConvOperands } from "./conv-geometry.ts";

/** @param operands of static shape: x `[N,C,…]`, w `[C,1,k…]`, dy `[N,C,…]` */
export function weightGradientByGroupedConvolution(op: OpBuilder, { axes }: ConvGeometry, { x, w, dy }: ConvOperands): Value {
  const [n, c, ...size] = dimsOf(x) as readonly number[] as [number, number, ...number[]];
  const kernel = dimsOf(dy).slice(2) as readonly number[];
  const image = op.reshape(x, [1, n * c, ...size]);
  const seed = op.reshape(dy, [n * c, 1, ...kernel]);
  const attrs = {
    dilations: axes.map((axis) => axis.stride),
    strides: axes.map((axis) => axis.dilation),
    group: n * c,
    kernel_shape: [...kernel],
    pads: [...axes.map((axis) => axis.padBegin), ...axes.map((axis) => axis.padEnd)],
  };
  const full = op.emit("Conv", [image, seed], attrs);
  // Where the stride left a remainder, further windows fit: they belong to no weight.
  const cut = op.slice(
    full,
    axes.map((axis, i) => ({ axis: i + 2, start: 0, end: axis.size })),
  );
  const perImage = op.reshape(cut, [n, c, 1, ...axes.map((axis) => axis.size)]);
  return op.reshapeLike(op.reduceSum(perImage, [0]), w);
}
