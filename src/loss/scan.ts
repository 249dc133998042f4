/**
 * Prefix sums and sums of long rows, in blocks of 128. CumSum along a long axis takes quadratic time on the CUDA and
 * WebGPU providers, and one long float32 sum loses digits; both are linear and exact for counts this way.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { knownSize, reshapeTo, sizes } from "./pixels.ts";

export const blockLength = 128;

/** Up to here one CumSum is as good as blocks. */
const shortLength = 1024;

/** Rows [r, n] and what is known about n. */
export interface RowLayout {
  readonly rows: number | Value;
  /** n as int64 [1] */
  readonly length: Value;
  /** No larger than this. */
  readonly bound: number;
  /** n is a multiple of the block length. */
  readonly aligned: boolean;
}

export function isShort(layout: RowLayout): boolean {
  return layout.bound <= shortLength;
}

/** [r, n] → [r, ⌈n/128⌉, 128], the last block filled up with zeros. */
function inBlocks(op: OpBuilder, x: Value, layout: RowLayout): Value {
  if (layout.aligned) return reshapeTo(op, x, [layout.rows, -1, blockLength]);
  const missing = op.sub(op.mul(blockCount(op, layout.length), blockLength), layout.length);
  const padded = op.emit("Pad", [x, sizes(op, [0, 0, 0, missing])]);
  return reshapeTo(op, padded, [layout.rows, -1, blockLength]);
}

function blockCount(op: OpBuilder, length: Value): Value {
  return op.div(op.add(length, blockLength - 1), blockLength);
}

function cumulate(op: OpBuilder, x: Value, axis: number): Value {
  return op.emit("CumSum", [x, op.scalar("int64", axis)]);
}

/**
 * Inclusive prefix sums of rows of zeros and ones.
 * @param x float32 [r, n]
 * @param dtype float32 is exact below 2²⁴ per row; int32 beyond
 * @returns [r, n] of that type
 */
export function prefixCounts(op: OpBuilder, x: Value, layout: RowLayout, dtype: "float32" | "int32"): Value {
  if (isShort(layout)) return op.cast(cumulate(op, x, 1), dtype);
  return cutBlocks(op, scanBlocks(op, inBlocks(op, x, layout), layout, dtype), layout);
}

/** [r, ⌈n/128⌉, 128] → [r, n] */
function cutBlocks(op: OpBuilder, blocks: Value, layout: RowLayout): Value {
  if (layout.aligned) return reshapeTo(op, blocks, [layout.rows, layout.length]);
  const whole = reshapeTo(op, blocks, [layout.rows, op.mul(blockCount(op, layout.length), blockLength)]);
  return op.emit("Slice", [whole, op.ints([0]), layout.length, op.ints([1])]);
}

function scanBlocks(op: OpBuilder, blocks: Value, layout: RowLayout, dtype: "float32" | "int32"): Value {
  const inside = op.cast(cumulate(op, blocks, 2), dtype);
  const count = blockCount(op, layout.length);
  const totals = reshapeTo(op, op.slice(inside, [{ axis: 2, start: blockLength - 1 }]), [layout.rows, count]);
  const bound = Math.ceil(layout.bound / blockLength);
  const before = op.sub(scanTotals(op, totals, { rows: layout.rows, length: count, bound, aligned: false }), totals);
  return op.add(inside, op.unsqueeze(before, [2]));
}

/** Block totals: blocks once more, then short enough for any row up to 2²⁴ (and linear in the blocks beyond). */
function scanTotals(op: OpBuilder, totals: Value, layout: RowLayout): Value {
  if (isShort(layout)) return cumulate(op, totals, 1);
  const blocks = cumulate(op, inBlocks(op, totals, layout), 2);
  const count = blockCount(op, layout.length);
  const upper = reshapeTo(op, op.slice(blocks, [{ axis: 2, start: blockLength - 1 }]), [layout.rows, count]);
  const before = op.sub(cumulate(op, upper, 1), upper);
  return cutBlocks(op, op.add(blocks, op.unsqueeze(before, [2])), layout);
}

/** Sum of each row, block by block: [r, n] → [r]. */
export function rowSums(op: OpBuilder, x: Value, layout: RowLayout): Value {
  return isShort(layout) ? op.reduceSum(x, [1]) : op.reduceSum(op.reduceSum(inBlocks(op, x, layout), [2]), [1]);
}

/** Layout of rows of known or unknown length. */
export function rowLayout(rows: number | Value, length: Value): RowLayout {
  const bound = knownSize(length);
  return { rows, length, bound, aligned: Number.isFinite(bound) && bound % blockLength === 0 };
}
