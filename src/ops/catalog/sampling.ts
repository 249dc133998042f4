/** Operators that resample pictures. */

import { type Dim, isStatic, type Shape, scaleDim } from "../../ir/dims.ts";
import { tensorNumbers } from "../../ir/tensor.ts";
import { defineOp, float, type InferContext, int, ints, required, sizesOf, string } from "../define.ts";

/** Sizes with one scale for all axes, the smallest (or largest) that the wanted sizes ask for; not known while one of them is not. */
function keepingRatio(policy: string, from: readonly Dim[], wanted: readonly Dim[]): readonly Dim[] | undefined {
  if (!isStatic(from) || !isStatic(wanted)) return undefined;
  const scales = wanted.map((size, i) => Math.fround(size / (from[i] as number)));
  const scale = policy === "not_larger" ? Math.min(...scales) : Math.max(...scales);
  return from.map((size) => Math.floor(Math.fround(scale * size) + 0.5));
}

function resized(context: InferContext<{ axes: readonly number[] | undefined; keep_aspect_ratio_policy: string }>): Shape | undefined {
  const { shape } = required(context, 0);
  if (shape === undefined) return undefined;
  const { keep_aspect_ratio_policy: policy } = context.attrs;
  const axes = context.attrs.axes ?? shape.map((_, i) => i);
  const wanted = sizesOf(context.x[3], context.fresh);
  const along = axes.map((axis) => shape[axis < 0 ? axis + shape.length : axis] as Dim);
  const sizes = wanted === undefined || policy === "stretch" ? wanted : keepingRatio(policy, along, wanted);
  const scales = context.x[2]?.constant === undefined ? undefined : tensorNumbers(context.x[2].constant);
  const result = [...shape];
  axes.forEach((axis, i) => {
    const at = axis < 0 ? axis + shape.length : axis;
    const scale = scales?.[i];
    const size = sizes?.[i];
    if (size !== undefined) result[at] = size;
    else if (scale !== undefined) result[at] = scaleDim(result[at] as Dim, scale);
    else result[at] = context.fresh();
  });
  return result;
}

export const sampling = {
  Resize: defineOp({
    attrs: {
      antialias: int(0),
      axes: ints(),
      coordinate_transformation_mode: string("half_pixel"),
      cubic_coeff_a: float(-0.75),
      exclude_outside: int(0),
      extrapolation_value: float(0),
      keep_aspect_ratio_policy: string("stretch"),
      mode: string("nearest"),
      nearest_mode: string("round_prefer_floor"),
    },
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: resized(context) }],
  }),
  GridSample: defineOp({
    attrs: { align_corners: int(0), mode: string("bilinear"), padding_mode: string("zeros") },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      const points = required(context, 1).shape;
      return [{ dtype, shape: shape === undefined || points === undefined ? undefined : [...shape.slice(0, 2), ...points.slice(1, -1)] }];
    },
  }),
  RoiAlign: defineOp({
    attrs: {
      coordinate_transformation_mode: string("half_pixel"),
      mode: string("avg"),
      output_height: int(1),
      output_width: int(1),
      sampling_ratio: int(0),
      spatial_scale: float(1),
    },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      // One line of corners and one picture for each region.
      const counts = [context.x[1], context.x[2]].map((value) => value?.shape?.[0]).filter((dim) => dim !== undefined);
      const regions = counts.find((dim) => typeof dim === "number") ?? counts[0];
      const { output_height: height, output_width: width } = context.attrs;
      return [{ dtype, shape: [regions ?? context.fresh(), shape?.[1] ?? context.fresh(), height, width] }];
    },
  }),
} as const;
