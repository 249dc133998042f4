/** Cases of convolutions: dimensions, groups, strides with and without a remainder, dilation, every kind of padding. */

import type { Case } from "../case.ts";
import { data, w, x } from "../operands.ts";

interface Shape {
  readonly x: number[];
  readonly w: number[];
  readonly bias?: boolean;
  readonly staticOnly?: string;
}

/** Channels are fixed by the weight, also where pictures are dynamic. */
const conv = (about: string, shape: Shape, attrs: Record<string, unknown> = {}): Case => ({
  op: "Conv",
  about,
  inputs: [x(shape.x), w(shape.w), ...(shape.bias ? [w([shape.w[0] as number])] : [])],
  attrs,
  ...(shape.staticOnly ? { staticOnly: shape.staticOnly } : {}),
});

const transposed = (about: string, shape: Shape, attrs: Record<string, unknown> = {}): Case => ({
  op: "ConvTranspose",
  about,
  inputs: [x(shape.x), w(shape.w), ...(shape.bias ? [w([(shape.w[1] as number) * ((attrs["group"] as number | undefined) ?? 1)])] : [])],
  attrs,
  ...(shape.staticOnly ? { staticOnly: shape.staticOnly } : {}),
});

const sizeDecides = "its padding depends on the size";

export const convolution: readonly Case[] = [
  conv("1×1", { x: [2, 3, 4, 5], w: [4, 3, 1, 1], bias: true }),
  conv("1×1, stride 2", { x: [2, 3, 5, 4], w: [4, 3, 1, 1] }, { strides: [2, 2] }),
  conv("1×1, padded", { x: [2, 3, 3, 4], w: [2, 3, 1, 1] }, { pads: [1, 0, 2, 1] }),
  conv("1×1, groups", { x: [2, 4, 3, 4], w: [6, 2, 1, 1] }, { group: 2 }),
  conv("3×3", { x: [2, 3, 5, 6], w: [4, 3, 3, 3], bias: true }, { pads: [1, 1, 1, 1] }),
  conv("3×3, unpadded", { x: [2, 3, 5, 6], w: [2, 3, 3, 3] }),
  conv("more outputs than inputs", { x: [1, 2, 5, 6], w: [5, 2, 3, 2] }, { pads: [1, 0, 1, 1] }),
  conv("asymmetric kernel and pads", { x: [2, 3, 5, 6], w: [2, 3, 2, 3] }, { pads: [1, 0, 2, 1] }),
  conv("dilation", { x: [2, 2, 7, 8], w: [3, 2, 3, 2] }, { dilations: [2, 3], pads: [2, 1, 2, 2] }),
  conv("stride 2", { x: [2, 3, 7, 7], w: [4, 3, 3, 3] }, { strides: [2, 2], pads: [1, 1, 1, 1] }),
  conv("stride 2 with a remainder", { x: [2, 3, 8, 6], w: [4, 3, 3, 3] }, { strides: [2, 2], pads: [1, 1, 1, 1] }),
  conv("stride 3 with remainders 1 and 2", { x: [1, 2, 8, 9], w: [2, 2, 3, 2] }, { strides: [3, 3], pads: [0, 0, 1, 0] }),
  conv("stride larger than the kernel", { x: [1, 2, 9, 8], w: [2, 2, 2, 1] }, { strides: [4, 3] }),
  conv("strides of different size", { x: [1, 9, 7, 8], w: [3, 9, 3, 3] }, { strides: [1, 2], pads: [1, 1, 1, 1] }),
  conv("stride 2, dilation 2", { x: [1, 3, 9, 10], w: [2, 3, 3, 3] }, { strides: [2, 2], dilations: [2, 2], pads: [2, 2, 2, 2] }),
  conv("pads larger than the kernel", { x: [1, 2, 4, 4], w: [3, 2, 2, 2] }, { pads: [3, 2, 2, 3] }),
  conv("pads larger than the kernel, stride 2", { x: [1, 2, 4, 5], w: [3, 2, 2, 2] }, { pads: [3, 2, 2, 3], strides: [2, 2] }),
  conv("groups", { x: [2, 4, 5, 5], w: [6, 2, 3, 3], bias: true }, { group: 2, pads: [1, 1, 1, 1] }),
  conv("groups, stride 2", { x: [2, 4, 6, 5], w: [6, 2, 3, 3] }, { group: 2, pads: [1, 1, 1, 1], strides: [2, 2] }),
  conv("depthwise", { x: [2, 3, 5, 6], w: [3, 1, 3, 3] }, { group: 3, pads: [1, 1, 1, 1] }),
  conv("depthwise, stride 2", { x: [2, 3, 6, 7], w: [3, 1, 3, 3] }, { group: 3, pads: [1, 1, 1, 1], strides: [2, 2] }),
  conv("depthwise, dilation 2", { x: [2, 3, 6, 7], w: [3, 1, 3, 3] }, { group: 3, pads: [2, 2, 2, 2], dilations: [2, 2] }),
  conv("depth multiplier", { x: [2, 3, 5, 6], w: [6, 1, 3, 3] }, { group: 3, pads: [1, 1, 1, 1] }),
  conv("depth multiplier, stride 2", { x: [2, 3, 6, 6], w: [6, 1, 3, 3] }, { group: 3, pads: [1, 1, 1, 1], strides: [2, 2] }),
  conv("auto_pad SAME_UPPER", { x: [1, 2, 5, 6], w: [3, 2, 2, 4] }, { auto_pad: "SAME_UPPER" }),
  conv("auto_pad SAME_LOWER", { x: [1, 2, 5, 6], w: [3, 2, 2, 4] }, { auto_pad: "SAME_LOWER" }),
  conv("auto_pad SAME_UPPER, stride 2", { x: [1, 2, 5, 6], w: [3, 2, 3, 3], staticOnly: sizeDecides }, { auto_pad: "SAME_UPPER", strides: [2, 2] }),
  conv("auto_pad VALID", { x: [1, 2, 5, 6], w: [3, 2, 3, 3] }, { auto_pad: "VALID", strides: [2, 2] }),
  conv("one dimension", { x: [2, 3, 8], w: [4, 3, 3], bias: true }, { pads: [1, 2] }),
  conv("one dimension, stride 2, groups", { x: [2, 4, 8], w: [4, 2, 3] }, { pads: [1, 0], strides: [2], group: 2 }),
  conv("one dimension, dilation", { x: [2, 2, 9], w: [3, 2, 3] }, { dilations: [3] }),
  conv("three dimensions", { x: [1, 2, 3, 4, 5], w: [3, 2, 2, 3, 3], bias: true }, { pads: [0, 1, 1, 1, 1, 1] }),
  conv("three dimensions, stride 2", { x: [1, 2, 5, 4, 6], w: [2, 2, 3, 2, 3] }, { strides: [2, 2, 1], pads: [1, 0, 1, 1, 0, 1] }),
  conv("three dimensions, depthwise", { x: [2, 3, 3, 4, 3], w: [3, 1, 2, 3, 2] }, { group: 3 }),
  { op: "Conv", about: "a weight that is computed", inputs: [data("float32", [1, 1, 3, 3], [1, -2, 3, 0.5, 1, 2, -1, 0, 1]), w([2, 1, 2, 2])] },
  transposed("2×2, stride 2", { x: [2, 3, 3, 4], w: [3, 2, 2, 2], bias: true }, { strides: [2, 2] }),
  transposed("3×3, stride 1", { x: [2, 3, 4, 5], w: [3, 2, 3, 3] }, { pads: [1, 1, 1, 1] }),
  transposed("kernel 4, stride 2", { x: [1, 2, 3, 4], w: [2, 3, 4, 4] }, { strides: [2, 2], pads: [1, 1, 1, 1] }),
  transposed("output_padding", { x: [1, 2, 3, 4], w: [2, 3, 3, 3] }, { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] }),
  transposed("output_padding on one axis, stride 3", { x: [1, 2, 3, 2], w: [2, 3, 3, 2] }, { strides: [3, 3], output_padding: [2, 0] }),
  transposed("output_shape", { x: [1, 2, 3, 4], w: [2, 3, 3, 3], staticOnly: sizeDecides }, { strides: [2, 2], output_shape: [6, 9] }),
  transposed("auto_pad SAME_UPPER", { x: [1, 2, 3, 4], w: [2, 3, 3, 3] }, { strides: [2, 2], auto_pad: "SAME_UPPER" }),
  transposed("auto_pad SAME_LOWER", { x: [1, 2, 3, 4], w: [2, 3, 3, 3] }, { strides: [2, 2], auto_pad: "SAME_LOWER" }),
  transposed("asymmetric pads", { x: [1, 2, 4, 4], w: [2, 2, 3, 3] }, { strides: [2, 1], pads: [0, 1, 1, 0] }),
  transposed("dilation", { x: [1, 2, 3, 4], w: [2, 3, 3, 2] }, { dilations: [2, 3], strides: [1, 2] }),
  transposed("groups", { x: [2, 4, 3, 4], w: [4, 3, 2, 2], bias: true }, { group: 2, strides: [2, 2] }),
  transposed("depthwise", { x: [2, 3, 3, 4], w: [3, 1, 4, 4] }, { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] }),
  transposed("one dimension", { x: [2, 3, 4], w: [3, 2, 3] }, { strides: [2], pads: [1, 1], output_padding: [1] }),
  transposed("three dimensions", { x: [1, 2, 2, 3, 2], w: [2, 2, 2, 2, 3] }, { strides: [2, 1, 2] }),
  transposed(
    "output_shape beyond the kernel",
    { x: [1, 1, 3, 3], w: [1, 2, 3, 3], staticOnly: "an output shape of its own" },
    { output_shape: [10, 8], strides: [3, 2] },
  ),
];
