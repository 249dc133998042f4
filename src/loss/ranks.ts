/**
 * The exact Lovász weights: rows of errors sorted descending, and for every rank the increase δ of the Jaccard loss,
 * from integer counts in closed form. Sorts no more than what can have weight.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { Foreground } from "./lovasz-sets.ts";
import { filled, reshapeTo } from "./pixels.ts";
import { blockLength, cutBlocks, fillBlocks, prefixCounts, type RowLayout, wholeBlocks } from "./scan.ts";

/** Rows of one sorted set each: [r, M]. */
export interface ErrorRows {
  readonly errors: Value;
  readonly foreground: Foreground;
  /** G per row, [r,1], float32 or (2²⁴ pixels and more) int32 */
  readonly counts: Value;
  /** float32 [r,1]: nothing below it has weight. */
  readonly lowest: Value;
  readonly layout: RowLayout;
  /** Divides M: a length of which float32 sums of zeros and ones are exact. */
  readonly lineLength: Value;
  /** δ_1 = 1 where G = 0. */
  readonly countEmpty: boolean;
}

export interface RankedRows {
  /** Errors descending, [r, K] */
  readonly errors: Value;
  /** int64 [r, K]: positions in the row */
  readonly positions: Value;
  readonly foreground: Value;
  /** δ, [r, K] */
  readonly weights: Value;
  readonly layout: RowLayout;
}

/** Sums beyond this may have lost the units: then everything is sorted. */
const safeCount = 2 ** 23;

/**
 * The largest number of pixels of any row at or above its `lowest`, as int64 [1]; at least 1. A background pixel
 * with an error below the smallest foreground error has I = 0 there, hence δ = 0.
 */
function lengthToSort(op: OpBuilder, { errors, lowest, layout, lineLength }: ErrorRows): Value {
  const inside = op.cast(op.greaterOrEqual(errors, lowest), "float32");
  const lines = op.reduceSum(reshapeTo(op, inside, [layout.rows, -1, lineLength]), [2]);
  const largest = op.reshape(op.reduceMax(op.reduceSum(lines, [1]), [0]), [1]);
  const count = op.max(op.cast(largest, "int64"), 1);
  const rounded = layout.aligned ? op.mul(op.div(op.add(count, blockLength - 1), blockLength), blockLength) : count;
  const known = layout.bound < safeCount ? rounded : op.where(op.greater(rounded, safeCount), layout.length, rounded);
  return op.min(known, layout.length);
}

/** foreground: δ = 1/U;  background: δ = I/(U·(U−1));  G = 0: δ_1 = 1 if `countEmpty`, the rest 0. */
export function rankErrors(op: OpBuilder, rows: ErrorRows): RankedRows {
  const length = lengthToSort(op, rows);
  const { values, indices } = op.topK(rows.errors, length, { axis: 1, largest: true });
  const layout: RowLayout = { ...rows.layout, length };
  const foreground = rows.foreground.at(op, indices);
  const dtype = rows.counts.dtype === "int32" ? "int32" : "float32";
  // Whole blocks of ranks, cut to the length only once they are float weights.
  const whole = wholeBlocks(op, layout);
  const padded = fillBlocks(op, foreground, layout);
  const seen = prefixCounts(op, padded, whole, dtype);
  const last = op.reshape(op.cast(whole.length, dtype), []);
  const rank = op.emit("Range", [op.scalar(dtype, 1), op.add(last, 1), op.scalar(dtype, 1)]);
  const intersection = op.sub(rows.counts, seen);
  // U = G + B = G + (rank − F) = I + rank
  const union = op.cast(op.add(intersection, rank), "float32");
  const background = op.div(op.cast(intersection, "float32"), op.max(op.sub(union, 1), 1));
  // I ≤ U − 1, so the foreground's 1 is the larger one where it applies.
  const ranked = op.div(op.max(padded, background), union);
  const weights = cutBlocks(op, rows.countEmpty ? withEmptyRows(op, ranked, rank, rows.counts) : ranked, layout);
  return { errors: values, positions: indices, foreground, weights, layout };
}

function withEmptyRows(op: OpBuilder, weights: Value, rank: Value, counts: Value): Value {
  const first = op.cast(op.lessOrEqual(rank, 1), "float32");
  const empty = op.cast(op.less(counts, 1), "float32");
  return op.add(weights, op.mul(empty, first));
}

/** One number per rank back to the pixels it belongs to, `elsewhere` (0) for the others: [r, K] → [r, M]. */
export function scatterToPixels(op: OpBuilder, perRank: Value, ranked: RankedRows, { rows, length }: RowLayout, elsewhere?: Value): Value {
  return op.emit("ScatterElements", [elsewhere ?? filled(op, 0, [rows, length]), ranked.positions, perRank], { axis: 1 });
}
