/**
 * The weights of counted errors: all pixels of a bin share a weight, and together these are exactly the increase of the
 * Jaccard loss over the bin.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { cutBlocks, fillBlocks, prefixCounts, rowLayout, rowSums, wholeBlocks } from "./scan.ts";

/**
 * Columns of a histogram of b bins: 0…b of the background, b+1…2b+1 of the foreground. ⌊e·b⌋ = b, the error 1, counts
 * in the bin below it; a column of its own for it saves a pass over all classes.
 */
export const columnsOf = (bins: number): number => 2 * bins + 2;

/**
 * Signed δ per column, [r, 2b+2], and Σ f·δ of the foreground per row, [r]. With f, h pixels of a bin, I0, U0 before
 * and I1, U1 after it: foreground ½(1/U0 + 1/U1), background ½(I0 + I1)/(U0·U1).
 * @param counted pixels per column, as `totals` float32 or int32
 * @param totals G per row, [r,1]
 * @param countEmpty a row with G = 0 counts
 */
export function weightTable(
  op: OpBuilder,
  counted: Value,
  totals: Value,
  rows: number | Value,
  bins: number,
  countEmpty: boolean,
): { table: Value; foreground: Value } {
  const layout = rowLayout(rows, op.ints([bins]));
  const [background, foreground] = mergeTops(op, counted, bins);
  const float = (x: Value) => op.cast(x, "float32");
  // Walked from the last bin to the first: what a bin and all above it hold.
  const above = (x: Value) => {
    const filledUp = prefixCounts(op, fillBlocks(op, x, layout), wholeBlocks(op, layout), totals.dtype === "int32" ? "int32" : "float32");
    const upTo = cutBlocks(op, filledUp, layout);
    return op.add(op.sub(op.gather(upTo, op.ints([bins - 1]), 1), upTo), x);
  };
  const [seenForeground, seenBackground] = [above(foreground), above(background)];
  const after = op.sub(totals, seenForeground);
  const reached = op.add(totals, seenBackground);
  const unionAfter = op.max(float(reached), 1);
  const unionBefore = op.max(float(op.sub(reached, background)), 1);
  const intersections = op.mul(float(op.add(op.add(after, after), foreground)), 0.5);
  const forForeground = op.mul(op.add(op.reciprocal(unionBefore), op.reciprocal(unionAfter)), 0.5);
  const occupied = op.div(op.div(intersections, unionBefore), unionAfter);
  const forBackground = countEmpty ? op.add(occupied, emptyRows()) : occupied;
  const withTop = (x: Value) => op.concat([x, op.slice(x, [{ axis: 1, start: bins - 1 }])], 1);
  const table = op.concat([withTop(forBackground), op.neg(withTop(forForeground))], 1);
  return { table, foreground: rowSums(op, op.mul(float(foreground), forForeground), layout) };

  /** Where G = 0 the pixels of the highest occupied bin share the weight 1. */
  function emptyRows(): Value {
    const isTop = float(op.equal(float(seenBackground), float(background)));
    const share = op.div(isTop, op.max(float(background), 1));
    return op.mul(share, float(op.less(totals, 1)));
  }
}

/** The columns as bins, the last two of either half together: [r, b] twice. WebGPU splits integers, but slices none. */
function mergeTops(op: OpBuilder, counted: Value, bins: number): readonly [background: Value, foreground: Value] {
  const half = bins === 1 ? [1, 1] : [bins - 1, 1, 1];
  const parts = op.split(counted, 1, [...half, ...half]);
  const merged = (of: readonly Value[]) => {
    const last = op.add(of.at(-2) as Value, of.at(-1) as Value);
    return bins === 1 ? last : op.concat([of[0] as Value, last], 1);
  };
  return [merged(parts.slice(0, half.length)), merged(parts.slice(half.length))];
}
