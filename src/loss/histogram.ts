/**
 * The histogram method: Lovász is an integral over thresholds, so counting errors into bins replaces the sort. All
 * pixels of a bin share a weight, and together these are exactly the increase of the Jaccard loss over the bin.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { GroupResult, GroupRows } from "./lovasz.ts";
import { type ClassGroup, layoutOf, type LovaszSets } from "./lovasz-sets.ts";
import type { LovaszOptions } from "./options.ts";
import { exactSum, filled, isPixelCountSmall, knownSize, reshapeTo } from "./pixels.ts";
import { prefixCounts, rowLayout, type RowLayout, rowSums } from "./scan.ts";

/**
 * Foreground and background are counted into one histogram of 2b bins, background first. With f, h pixels of a bin,
 * I0, U0 before and I1, U1 after it: foreground ½(1/U0 + 1/U1), background ½(I0 + I1)/(U0·U1).
 */
export function histogramWeights(op: OpBuilder, rows: GroupRows, sets: LovaszSets, group: ClassGroup, options: LovaszOptions, factor: number | undefined): GroupResult {
  const { bins } = options;
  const layout = layoutOf(op, sets, group);
  const signedErrors = op.sub(rows.probabilities, rows.foreground);
  const bin = binOf(op, signedErrors, rows.foreground, bins);
  const counted = countBins(op, bin, sets, layout, bins);
  const table = weightTable(op, counted, rows, layout, options);
  const scaled = op.mul(table, rows.shares);
  // The sign of the background is +, that of the foreground −: Σ e·δ = Σ (p − fg)·G.
  const perPixel = op.emit("GatherElements", [scaled, bin], { axis: 1 });
  const value = op.reduceSum(rowSums(op, op.mul(signedErrors, perPixel), layout), [0]);
  return { value, gradient: factor === undefined ? undefined : op.mul(perPixel, factor) };
}

/** min(b−1, ⌊e·b⌋), plus b for foreground. A NaN must not become an index: it is clamped as an integer. */
function binOf(op: OpBuilder, signedErrors: Value, foreground: Value, bins: number): Value {
  const scaled = op.min(op.floor(op.mul(op.abs(signedErrors), bins)), bins - 1);
  const index = op.cast(op.add(scaled, op.mul(foreground, bins)), "int32");
  return op.max(op.min(index, 2 * bins - 1), 0);
}

/** Pixels per bin, [r, 2b], float32 or int32 as the class counts. Up to 2²⁴ pixels share one float32 counter. */
function countBins(op: OpBuilder, bin: Value, sets: LovaszSets, layout: RowLayout, bins: number): Value {
  const { grid } = sets.labels;
  const small = isPixelCountSmall(layout.length);
  const count = (index: Value, rows: number | Value, length: number | Value) =>
    op.emit("ScatterElements", [filled(op, 0, [rows, 2 * bins]), index, filled(op, 1, [rows, length])], { axis: 1, reduction: "add" });
  if (small) return count(bin, layout.rows, layout.length);
  const parts = sets.perImage ? partsOf(knownSize(grid.height), knownSize(grid.area)) : grid.images;
  const length = op.div(layout.length, typeof parts === "number" ? op.ints([parts]) : parts);
  const rows = op.mul(typeof layout.rows === "number" ? op.ints([layout.rows]) : layout.rows, parts);
  const counted = reshapeTo(op, count(reshapeTo(op, bin, [rows, length]), rows, length), [layout.rows, parts, 2 * bins]);
  return op.cast(exactSum(op, counted, [1], false), "int32");
}

/** Into how many runs of rows an image is cut so that each holds less than 2²⁴ pixels. */
function partsOf(height: number, area: number): number {
  if (!Number.isFinite(area)) return 1;
  for (let parts = 1; parts < height; parts++) if (height % parts === 0 && area / parts < 2 ** 24) return parts;
  return height;
}

/** δ per bin, background +, foreground −: [r, 2b]. */
function weightTable(op: OpBuilder, counted: Value, rows: GroupRows, layout: RowLayout, options: LovaszOptions): Value {
  const { bins } = options;
  const total = rows.counts;
  const half = (start: number) => op.slice(counted, [{ axis: 1, start, end: start + bins }]);
  const [background, foreground] = [half(0), half(bins)] as const;
  // Walked from the last bin to the first: what a bin and all above it hold.
  const columns = rowLayout(layout.rows, op.ints([bins]));
  const dtype = total.dtype === "int32" ? "int32" : "float32";
  const above = (x: Value) => {
    const upTo = prefixCounts(op, x, columns, dtype);
    return op.add(op.sub(op.slice(upTo, [{ axis: 1, start: bins - 1 }]), upTo), x);
  };
  const float = (x: Value) => op.cast(x, "float32");
  const [seenForeground, seenBackground] = [above(foreground), above(background)];
  const after = op.sub(total, seenForeground);
  const unionAfter = op.max(float(op.add(total, seenBackground)), 1);
  const before = op.add(after, foreground);
  const unionBefore = op.max(float(op.sub(op.add(total, seenBackground), background)), 1);
  const foregroundWeight = op.mul(op.add(op.reciprocal(unionBefore), op.reciprocal(unionAfter)), -0.5);
  const meanIntersection = op.mul(float(op.add(before, after)), 0.5);
  const backgroundWeight = op.div(op.div(meanIntersection, unionBefore), unionAfter);
  const complete = options.classes === "present" ? backgroundWeight : op.add(backgroundWeight, emptyRows());
  return op.concat([complete, foregroundWeight], 1);

  /** Where G = 0 the pixels of the highest occupied bin share the weight 1. */
  function emptyRows(): Value {
    const isTop = op.equal(float(seenBackground), float(background));
    const share = op.div(op.cast(isTop, "float32"), op.max(float(background), 1));
    return op.mul(share, op.cast(op.less(total, 1), "float32"));
  }
}
