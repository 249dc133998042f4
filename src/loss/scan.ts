/**
 * Prefix sums and sums of long rows, in blocks of 128. CumSum along a long axis takes quadratic time on the CUDA and
 * WebGPU providers, and one long float32 sum loses digits; both are linear and exact for counts this way.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { assert, bug } from "../support/errors.ts";
import { filled, knownSize, reshapeTo, sizeOf, sizes } from "./pixels.ts";

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

/** Rows that need nothing behind them before they are cut into blocks, or no blocks. */
function isWhole(layout: RowLayout): boolean {
  return layout.aligned || isShort(layout);
}

/** Layout of the rows once they are filled up to whole blocks. */
export function wholeBlocks(op: OpBuilder, layout: RowLayout): RowLayout {
  if (isWhole(layout)) return layout;
  return { rows: layout.rows, length: wholeLength(op, layout.length), bound: Math.ceil(layout.bound / blockLength) * blockLength, aligned: true };
}

/** Rows with zeros behind them, as long as `wholeBlocks` says. CUDA has no Pad for integers. */
export function fillBlocks(op: OpBuilder, x: Value, layout: RowLayout): Value {
  if (isWhole(layout)) return x;
  const missing = op.sub(wholeLength(op, layout.length), layout.length);
  if (x.dtype === "float32") return op.emit("Pad", [x, sizes(op, [0, 0, 0, missing])]);
  return op.concat([x, op.cast(filled(op, 0, [layout.rows, missing]), x.dtype)], 1);
}

/** The rows before they were filled up. WebGPU has no Slice for integers. */
export function cutBlocks(op: OpBuilder, x: Value, layout: RowLayout): Value {
  if (isWhole(layout)) return x;
  if (x.dtype === "float32") return op.emit("Slice", [x, op.ints([0]), layout.length, op.ints([1])]);
  assert(Number.isFinite(layout.bound), "integer rows of unknown length are not cut");
  const [kept] = op.split(x, 1, [layout.bound, Math.ceil(layout.bound / blockLength) * blockLength - layout.bound]);
  return kept ?? bug("Split without outputs");
}

/** [r, n] → [r, ⌈n/128⌉, 128], the last block filled up with zeros. */
function inBlocks(op: OpBuilder, x: Value, layout: RowLayout): Value {
  return reshapeTo(op, fillBlocks(op, x, layout), [layout.rows, -1, blockLength]);
}

function blockCount(op: OpBuilder, length: Value): Value {
  return op.div(op.add(length, blockLength - 1), blockLength);
}

function wholeLength(op: OpBuilder, length: Value): Value {
  return op.mul(blockCount(op, length), blockLength);
}

function cumulate(op: OpBuilder, x: Value, axis: number): Value {
  return op.emit("CumSum", [x, op.scalar("int64", axis)]);
}

/** The last element of every block: [r, n, 128] → [r, n]. */
function lastOfBlocks(op: OpBuilder, blocks: Value, { rows }: RowLayout, count: Value): Value {
  return reshapeTo(op, op.gather(blocks, op.ints([blockLength - 1]), 2), [rows, count]);
}

/**
 * Inclusive prefix sums of rows of whole numbers.
 * @param x [r, n]: float32 whose sums are below 2²⁴ in every 16 384 elements, or int32
 * @param layout of `wholeBlocks`
 * @param dtype float32 is exact below 2²⁴ per row; int32 beyond
 * @returns [r, n] of that type
 */
export function prefixCounts(op: OpBuilder, x: Value, layout: RowLayout, dtype: "float32" | "int32"): Value {
  if (isShort(layout)) return op.cast(cumulate(op, x, 1), dtype);
  assert(layout.aligned, "prefix sums of rows that are not whole blocks");
  const inside = cumulate(op, inBlocks(op, x, layout), 2);
  const count = blockCount(op, layout.length);
  const totals = lastOfBlocks(op, inside, layout, count);
  const before = op.sub(prefixOfTotals(op, totals, rowLayout(layout.rows, count), dtype), op.cast(totals, dtype));
  return reshapeTo(op, op.add(op.cast(inside, dtype), op.unsqueeze(before, [2])), [layout.rows, layout.length]);
}

/** Block totals: blocks once more, then short enough for any row up to 2²⁴ (and linear in the blocks beyond). */
function prefixOfTotals(op: OpBuilder, totals: Value, layout: RowLayout, dtype: "float32" | "int32"): Value {
  if (isShort(layout)) return op.cast(cumulate(op, totals, 1), dtype);
  const inside = cumulate(op, inBlocks(op, totals, layout), 2);
  const count = blockCount(op, layout.length);
  const upper = op.cast(lastOfBlocks(op, inside, layout, count), dtype);
  const before = op.sub(cumulate(op, upper, 1), upper);
  if (layout.aligned) return reshapeTo(op, op.add(op.cast(inside, dtype), op.unsqueeze(before, [2])), [layout.rows, layout.length]);
  const own = cutBlocks(op, reshapeTo(op, inside, [layout.rows, op.mul(count, blockLength)]), layout);
  const block = op.div(numbersUpTo(op, layout.length), blockLength);
  return op.add(op.cast(own, dtype), op.gather(before, block, 1));
}

/** 0, 1 … n−1 as int32. Stays a node: folded, it would be most of the file. */
function numbersUpTo(op: OpBuilder, length: Value): Value {
  const bounds = [op.scalar("int32", 0), op.reshape(op.cast(length, "int32"), []), op.scalar("int32", 1)];
  const node = op.append("Range", "", bounds, {}, [{ dtype: "int32", shape: [sizeOf(length)] }]);
  return node.outputs[0] ?? bug("Range without an output");
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
