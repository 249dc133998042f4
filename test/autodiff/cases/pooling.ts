/** Cases of pooling. Maxima have no ties here: those have a test of their own. */

import type { Case } from "../case.ts";
import { apart, awayFrom, between, constant, data, type Sampler, x } from "../operands.ts";

type Attrs = Record<string, unknown>;

/** Geometries, with sizes they are tried on. */
const windows: readonly { about: string; dims: number[]; attrs: Attrs; staticOnly?: string }[] = [
  { about: "2×2, stride 2", dims: [2, 2, 4, 6], attrs: { kernel_shape: [2, 2], strides: [2, 2] } },
  { about: "2×2, stride 2 with a remainder", dims: [2, 2, 5, 7], attrs: { kernel_shape: [2, 2], strides: [2, 2] } },
  { about: "3×3, stride 2, padded", dims: [2, 2, 5, 6], attrs: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } },
  { about: "3×2, stride 1", dims: [1, 2, 4, 5], attrs: { kernel_shape: [3, 2] } },
  { about: "asymmetric pads", dims: [1, 2, 4, 5], attrs: { kernel_shape: [3, 3], strides: [2, 1], pads: [0, 1, 2, 1] } },
  { about: "ceil_mode", dims: [1, 2, 6, 7], attrs: { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 } },
  { about: "ceil_mode, padded", dims: [1, 2, 6, 5], attrs: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: 1 } },
  { about: "stride larger than the window", dims: [1, 2, 8, 8], attrs: { kernel_shape: [2, 2], strides: [3, 3] } },
  { about: "SAME_UPPER", dims: [1, 2, 5, 6], attrs: { kernel_shape: [3, 2], auto_pad: "SAME_UPPER" } },
  {
    about: "SAME_LOWER, stride 2",
    dims: [1, 2, 5, 6],
    attrs: { kernel_shape: [3, 2], auto_pad: "SAME_LOWER", strides: [2, 2] },
    staticOnly: "its padding depends on the size",
  },
  { about: "VALID", dims: [1, 2, 5, 6], attrs: { kernel_shape: [3, 2], auto_pad: "VALID", strides: [2, 2] } },
  { about: "one dimension", dims: [2, 3, 7], attrs: { kernel_shape: [3], strides: [2], pads: [1, 1] } },
  { about: "three dimensions", dims: [1, 2, 3, 4, 4], attrs: { kernel_shape: [2, 2, 3], strides: [1, 2, 1] } },
];

const pools = (op: string, sample: Sampler, extra: Attrs = {}, rest: Partial<Case> = {}, suffix = ""): Case[] =>
  windows.map(({ about, dims, attrs, staticOnly }) => ({
    op,
    about: about + suffix,
    inputs: [x(dims, sample, [1])],
    attrs: { ...attrs, ...extra },
    ...(staticOnly === undefined ? {} : { staticOnly }),
    ...rest,
  }));

const lowerings = ["any", "cpu"] as const;

export const pooling: readonly Case[] = [
  ...pools("MaxPool", apart, {}, { providers: lowerings }),
  {
    op: "MaxPool",
    about: "dilation",
    inputs: [x([1, 2, 6, 7], apart, [1])],
    attrs: { kernel_shape: [2, 3], dilations: [3, 2], pads: [1, 0, 1, 1] },
    providers: lowerings,
  },
  {
    op: "MaxPool",
    about: "dilation, stride 2, ceil_mode",
    inputs: [x([1, 2, 7, 8], apart, [1])],
    attrs: { kernel_shape: [2, 2], dilations: [2, 2], strides: [2, 2], ceil_mode: 1 },
    providers: lowerings,
  },
  {
    op: "MaxPool",
    about: "with Indices",
    inputs: [x([2, 2, 4, 4], apart, [1])],
    attrs: { kernel_shape: [2, 2], strides: [2, 2] },
    outputs: 2,
    providers: lowerings,
  },
  {
    op: "MaxPool",
    about: "Indices in column order",
    inputs: [x([2, 2, 4, 4], apart, [1])],
    attrs: { kernel_shape: [2, 2], strides: [2, 2], storage_order: 1 },
    outputs: 2,
    providers: lowerings,
  },
  { op: "MaxPool", about: "channels made at run time", inputs: [x([2, 2, 4, 4], apart)], attrs: { kernel_shape: [2, 2], strides: [2, 2] } },
  ...pools("AveragePool", between(-1, 1)),
  ...pools("AveragePool", between(-1, 1), { count_include_pad: 1 }, {}, ", counting the padding"),
  { op: "AveragePool", about: "channels made at run time", inputs: [x([2, 2, 4, 4])], attrs: { kernel_shape: [2, 2], strides: [2, 2] } },
  {
    op: "AveragePool",
    about: "dilation",
    inputs: [x([1, 2, 7, 6], between(-1, 1), [1])],
    attrs: { kernel_shape: [2, 3], dilations: [3, 2], pads: [1, 1, 1, 1] },
    opset: 19,
  },
  {
    op: "AveragePool",
    about: "dilation, counting the padding",
    inputs: [x([1, 2, 7, 6], between(-1, 1), [1])],
    attrs: { kernel_shape: [2, 3], dilations: [3, 2], pads: [1, 1, 1, 1], count_include_pad: 1 },
    opset: 19,
  },
  { op: "LpPool", inputs: [x([1, 2, 5, 6], awayFrom([0]), [1])], attrs: { kernel_shape: [2, 3], strides: [2, 1] } },
  {
    op: "LpPool",
    about: "p = 1, padded",
    inputs: [x([1, 2, 5, 6], awayFrom([0]), [1])],
    attrs: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], p: 1 },
  },
  { op: "LpPool", about: "p = 3", inputs: [x([1, 2, 5, 6], awayFrom([0]), [1])], attrs: { kernel_shape: [2, 2], p: 3 } },
  { op: "GlobalAveragePool", inputs: [x([2, 3, 4, 5])] },
  { op: "GlobalAveragePool", about: "one dimension", inputs: [x([2, 3, 4])] },
  { op: "GlobalMaxPool", inputs: [x([2, 3, 4, 2], apart)] },
  { op: "GlobalMaxPool", about: "three dimensions", inputs: [x([1, 2, 2, 3, 2], apart)] },
  { op: "GlobalLpPool", inputs: [x([2, 3, 4, 2], awayFrom([0]))] },
  { op: "GlobalLpPool", about: "p = 3", inputs: [x([2, 3, 4, 2], awayFrom([0]))], attrs: { p: 3 } },
  {
    op: "MaxUnpool",
    inputs: [x([1, 2, 2, 2]), data("int64", [1, 2, 2, 2], [5, 7, 13, 15, 16, 19, 25, 26])],
    attrs: { kernel_shape: [2, 2], strides: [2, 2] },
    staticOnly: "the runtime needs to know how large the result is",
  },
  {
    op: "MaxUnpool",
    about: "a larger output",
    inputs: [x([1, 1, 2, 2]), data("int64", [1, 1, 2, 2], [5, 7, 13, 10]), constant("int64", [4], [1, 1, 5, 5])],
    attrs: { kernel_shape: [2, 2], strides: [2, 2] },
    viaNormalized: "the runtime counts positions in the larger output",
    staticOnly: "the output has a size of its own",
  },
  {
    op: "MaxRoiPool",
    inputs: [x([2, 2, 6, 7], apart), data("float32", [3, 5], [0, 0, 0, 3, 5, 1, 2, 1, 6, 4, 1, 5, 5, 9, 9], [1])],
    attrs: { pooled_shape: [2, 3], spatial_scale: 0.9 },
  },
];
