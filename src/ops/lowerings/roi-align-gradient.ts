/**
 * Gradient of RoiAlign at the features: averaging bilinear samples is separable, so each region is two matrices and
 * dX of its picture is Wyᵀ·dY·Wx.
 */

import type { Value } from "../../ir/graph.ts";
import { OhemgenError } from "../../support/errors.ts";
import type { OpBuilder } from "../builder.ts";
import type { OpAttributes } from "../catalog.ts";
import { counting, sizeAlong } from "./interpolation.ts";

/** `[R, bins, size]`: the weights with which each bin of each region reads the rows (or columns) of the features. */
function regionMatrix(op: OpBuilder, attrs: OpAttributes<"RoiAlign">, ends: { low: Value; high: Value }, size: Value, bins: number): Value {
  const offset = attrs.coordinate_transformation_mode === "half_pixel" ? 0.5 : 0;
  const start = op.sub(op.mul(ends.low, attrs.spatial_scale), offset);
  const length = op.sub(op.sub(op.mul(ends.high, attrs.spatial_scale), offset), start);
  // Without half pixels a region is at least one pixel wide.
  const width = offset > 0 ? length : op.max(length, 1);
  const samples = bins * attrs.sampling_ratio;
  const steps = op.add(counting(op, op.scalar("int64", samples)), 0.5);
  const positions = op.add(start, op.mul(op.div(width, samples), op.unsqueeze(steps, [0])));
  const inside = op.cast(op.and(op.greaterOrEqual(positions, -1), op.lessOrEqual(positions, size)), "float32");
  const bounded = op.max(op.min(positions, op.sub(size, 1)), 0);
  const distance = op.abs(op.sub(op.unsqueeze(bounded, [2]), counting(op, size)));
  const weights = op.mul(op.relu(op.sub(1, distance)), op.unsqueeze(inside, [2]));
  const grouped = op.reshape(weights, op.concat([op.dim(weights, 0), op.ints([bins, attrs.sampling_ratio]), op.dim(weights, 2)], 0));
  return op.reduceMean(grouped, [2]);
}

/** @throws OhemgenError E202 for maxima, and where the number of samples depends on the regions */
export function roiAlignGradient(op: OpBuilder, attrs: OpAttributes<"RoiAlign">, x: Value, regions: Value, pictures: Value, dy: Value): Value {
  if (attrs.mode !== "avg" || attrs.sampling_ratio <= 0) {
    throw new OhemgenError("RoiAlign with mode max or without sampling_ratio has no gradient rule", {
      code: "E202",
      hint: "Freeze the weights before this RoiAlign.",
    });
  }
  const corner = (at: number) => op.slice(regions, [{ axis: 1, start: at, end: at + 1 }]);
  const wx = regionMatrix(op, attrs, { low: corner(0), high: corner(2) }, sizeAlong(op, x, 3), attrs.output_width);
  const wy = regionMatrix(op, attrs, { low: corner(1), high: corner(3) }, sizeAlong(op, x, 2), attrs.output_height);
  const perRegion = op.matmul(op.matmul(op.unsqueeze(op.transpose(wy, [0, 2, 1]), [1]), dy), op.unsqueeze(wx, [1]));
  const at = op.unsqueeze(op.cast(pictures, "int64"), [1]);
  return op.emit("ScatterND", [op.filledLike(x, 0), at, perRegion], { reduction: "add" });
}
