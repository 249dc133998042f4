/** Cases of resampling: every coordinate and rounding mode of Resize, grids, regions. */

import type { Case } from "../case.ts";
import { between, constant, data, floats, ints, w, x } from "../operands.ts";

const picture = [1, 2, 4, 5];

const resize = (about: string, rest: readonly (ReturnType<typeof x> | undefined)[], attrs: Record<string, unknown>, extra: Partial<Case> = {}): Case => ({
  op: "Resize",
  about,
  inputs: [x(picture), undefined, ...rest],
  attrs,
  ...extra,
});

const coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"];
const roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];

const nearest = [...coordinates, "tf_half_pixel_for_nn"].flatMap((mode) =>
  roundings.map((rounding) =>
    resize(`nearest, ${mode}, ${rounding}`, [undefined, ints(1, 2, 7, 4)], { mode: "nearest", coordinate_transformation_mode: mode, nearest_mode: rounding }),
  ),
);

const smooth = coordinates.flatMap((mode) => [
  resize(`linear, ${mode}, up and down`, [undefined, ints(1, 2, 7, 3)], { mode: "linear", coordinate_transformation_mode: mode }),
  resize(`linear, ${mode}, scales`, [floats(1, 1, 2.3, 0.6)], { mode: "linear", coordinate_transformation_mode: mode }),
  resize(`cubic, ${mode}`, [undefined, ints(1, 2, 7, 3)], { mode: "cubic", coordinate_transformation_mode: mode }),
]);

const keepingRatio = ["not_larger", "not_smaller"].flatMap((policy) => [
  resize(`linear, ${policy}`, [undefined, ints(7, 9)], { mode: "linear", keep_aspect_ratio_policy: policy, axes: [2, 3] }),
  resize(`linear, ${policy}, smaller`, [undefined, ints(3, 3)], { mode: "linear", keep_aspect_ratio_policy: policy, axes: [2, 3] }),
  resize(`cubic, ${policy}, align_corners`, [undefined, ints(9, 7)], {
    mode: "cubic",
    coordinate_transformation_mode: "align_corners",
    keep_aspect_ratio_policy: policy,
    axes: [3, 2],
  }),
  resize(`nearest, ${policy}`, [undefined, ints(7, 11)], { mode: "nearest", keep_aspect_ratio_policy: policy, axes: [2, 3] }),
  resize(`linear, ${policy}, the same size`, [undefined, ints(4, 5)], { mode: "linear", keep_aspect_ratio_policy: policy, axes: [2, 3] }),
]);

const grid = (about: string, dims: number[], gridDims: number[], attrs: Record<string, unknown>, opset?: number): Case => ({
  op: "GridSample",
  about,
  // Off the whole pixels, where the slope in the grid jumps.
  inputs: [x(dims, between(-1, 1), [2, 3]), x(gridDims, offPixels, [3])],
  attrs,
  ...(opset === undefined ? {} : { opset }),
});

/** Positions in (-1.2, 1.2) whose pixel in a picture of 4 to 5 pixels, both conventions, is off whole and half numbers. */
function offPixels(count: number, random: () => number): ArrayLike<number> {
  return Float64Array.from({ length: count }, () => {
    for (;;) {
      const at = 2.4 * random() - 1.2;
      const pixels = [4, 5].flatMap((size) => [((at + 1) / 2) * (size - 1), ((at + 1) * size - 1) / 2]);
      const outside = Math.abs(Math.abs(at) - 1) > 0.05;
      if (outside && pixels.every((pixel) => Math.abs(2 * pixel - Math.round(2 * pixel)) > 0.16)) return at;
    }
  });
}

const grids = ["bilinear", "nearest", "bicubic"].flatMap((mode) =>
  ["zeros", "border", "reflection"].flatMap((padding) =>
    [0, 1].map((align) =>
      grid(`${mode}, ${padding}${align ? ", align_corners" : ""}`, [2, 2, 4, 5], [2, 3, 2, 2], { mode, padding_mode: padding, align_corners: align }),
    ),
  ),
);

export const sampling: readonly Case[] = [
  resize("nearest, doubled", [floats(1, 1, 2, 2)], { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" }),
  resize("nearest, tripled, half_pixel", [floats(1, 1, 3, 1)], { mode: "nearest" }),
  resize("nearest, halved", [floats(1, 1, 0.5, 0.5)], { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" }),
  ...nearest,
  ...keepingRatio,
  resize("linear, doubled", [floats(1, 1, 2, 2)], { mode: "linear" }),
  ...smooth,
  resize("linear, to one pixel, pytorch_half_pixel", [undefined, ints(1, 2, 1, 3)], { mode: "linear", coordinate_transformation_mode: "pytorch_half_pixel" }),
  resize("linear, to one pixel, align_corners", [undefined, ints(1, 2, 1, 3)], { mode: "linear", coordinate_transformation_mode: "align_corners" }),
  resize("cubic, coefficient -0.5", [floats(1, 1, 1.5, 2)], { mode: "cubic", cubic_coeff_a: -0.5 }),
  resize("cubic, exclude_outside", [undefined, ints(1, 2, 7, 3)], { mode: "cubic", exclude_outside: 1 }),
  resize("linear, half_pixel_symmetric", [floats(1, 1, 1.3, 0.7)], { mode: "linear", coordinate_transformation_mode: "half_pixel_symmetric" }, { opset: 19 }),
  resize("linear, axes", [undefined, ints(3, 7)], { mode: "linear", axes: [3, 2] }),
  resize("linear, axes and scales", [floats(1.5)], { mode: "linear", axes: [-1] }),
  resize("linear, sizes made at run time", [undefined, data("int64", [4], [1, 2, 6, 3], [0])], { mode: "linear" }),
  { op: "Resize", about: "linear, three dimensions", inputs: [x([1, 2, 2, 3, 2]), undefined, floats(1, 1, 2, 1.5, 2)], attrs: { mode: "linear" } },
  { op: "Resize", about: "linear, one dimension", inputs: [x([1, 2, 4]), undefined, undefined, ints(1, 2, 7)], attrs: { mode: "linear" } },
  { op: "Resize", about: "scales as of old", inputs: [x(picture), floats(1, 1, 2, 2)], attrs: { mode: "linear" }, opset: 10 },
  ...grids,
  grid("renamed mode", [1, 2, 4, 5], [1, 3, 2, 2], { mode: "linear" }, 20),
  { op: "AffineGrid", inputs: [x([2, 2, 3], undefined, [1, 2]), ints(2, 3, 4, 5)], opset: 20 },
  { op: "AffineGrid", about: "align_corners", inputs: [x([2, 2, 3], undefined, [1, 2]), ints(2, 3, 4, 5)], attrs: { align_corners: 1 }, opset: 20 },
  { op: "AffineGrid", about: "three dimensions", inputs: [x([1, 3, 4], undefined, [1, 2]), ints(1, 2, 2, 3, 4)], opset: 20 },
  {
    op: "RoiAlign",
    inputs: [x([2, 2, 5, 6]), constant("float32", [2, 4], [0.3, 0.4, 4.1, 3.7, 1.2, 0.3, 3.1, 4.4]), constant("int64", [2], [0, 1])],
    attrs: { output_height: 2, output_width: 3, sampling_ratio: 2 },
  },
  {
    op: "RoiAlign",
    about: "no half pixel, scaled",
    inputs: [x([1, 2, 5, 6]), data("float32", [1, 4], [0.3, 0.4, 8.1, 7.7]), data("int64", [1], [0])],
    attrs: { output_height: 3, output_width: 2, sampling_ratio: 1, spatial_scale: 0.5, coordinate_transformation_mode: "output_half_pixel" },
  },
  {
    op: "Col2Im",
    about: "sizes made at run time",
    inputs: [x([2, 12, 25], undefined, [0, 1, 2]), data("int64", [2], [5, 6], [0]), data("int64", [2], [2, 3], [0])],
    attrs: { strides: [1, 1], pads: [1, 0, 0, 1] },
  },
  {
    op: "Col2Im",
    about: "volumes of sizes made at run time",
    inputs: [x([1, 8, 8], undefined, [1, 2]), data("int64", [3], [4, 5, 3], [0]), ints(2, 2, 2)],
    attrs: { strides: [2, 3, 1] },
  },
  { op: "Col2Im", inputs: [x([2, 12, 12], undefined, [1, 2]), ints(4, 5), ints(2, 2)] },
  {
    op: "Col2Im",
    about: "strides, pads, dilations",
    inputs: [x([1, 8, 15], undefined, [1, 2]), ints(5, 6), ints(2, 2)],
    attrs: { strides: [2, 1], pads: [1, 0, 0, 1], dilations: [1, 2] },
    staticOnly: "sizes follow from each other",
  },
  {
    op: "DeformConv",
    inputs: [x([1, 2, 4, 4], undefined, [0, 1, 2, 3]), w([3, 2, 2, 2]), x([1, 8, 3, 3], between(0.2, 0.8), [0, 1, 2, 3])],
    opset: 19,
    staticOnly: "offsets and picture give each other's sizes",
  },
  {
    op: "Resize",
    about: "scales made at run time",
    inputs: [x([1, 2, 4, 5]), undefined, data("float32", [4], [1, 1, 0.6, 1.7], [0])],
    attrs: { mode: "linear" },
  },
  {
    op: "Resize",
    about: "a scale that leaves the size",
    inputs: [x([1, 1, 4, 5]), undefined, floats(1, 1, 1.2, 2)],
    attrs: { mode: "linear" },
    staticOnly: "other sizes would change",
  },
];
