/**
 * Errors below 2⁻⁸, of which a trained net has nearly all, without sorting them: counted on the grid of 2⁻²⁴, the steps
 * of 1 − p in float32. Foreground errors lie on that grid, so their ranks are exact; the loss differs by at most 2⁻²⁴.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { conditional } from "../ops/conditional.ts";
import { bug } from "../support/errors.ts";
import type { Foreground } from "./lovasz-sets.ts";
import { wholeNumbers } from "./own-class.ts";
import { filled, reshapeTo } from "./pixels.ts";
import type { RowLayout } from "./scan.ts";
import { columnsOf, weightTable } from "./weight-table.ts";

const bins = 1 << 16;
const step = 2 ** -24;

/** From here on errors are sorted: the last bin holds them all. */
const start = (bins - 1) * step;

/** Shorter rows are sorted sooner than a table is made; longer ones hold counts that float32 does not. */
const lengths = { from: 1 << 16, below: 1 << 24 };

export interface SmallErrors {
  /** Errors below it have their weights from here; a float32 scalar, below every error where all are sorted. */
  readonly start: Value;
  /** ±δ·share of the errors below `start`, [r,M]; elsewhere to be overwritten. */
  readonly weights: (shares: Value) => { readonly signed: Value; readonly losses: Value };
}

export interface SmallErrorsInput {
  /** float32 [r,M] */
  readonly errors: Value;
  readonly foreground: Foreground;
  /** G per row, [r,1] */
  readonly counts: Value;
  /** No foreground error of the row is smaller, [r,1]. */
  readonly lowest: Value;
  readonly layout: RowLayout;
}

/** `undefined` where the rows are known to be short or too long. */
export function smallErrors(op: OpBuilder, input: SmallErrorsInput): SmallErrors | undefined {
  const { lowest, layout } = input;
  const known = Number.isFinite(layout.bound);
  if (known && (layout.bound < lengths.from || layout.bound >= lengths.below)) return undefined;
  const fits = known ? undefined : op.reshape(op.and(op.greaterOrEqual(layout.length, lengths.from), op.less(layout.length, lengths.below)), []);
  const first = op.scalar("float32", start);
  const some = op.less(op.reduceMin(lowest), first);
  return {
    start: fits === undefined ? first : op.where(fits, first, -1),
    weights: (shares) => whereNeeded(op, fits === undefined ? some : op.and(some, fits), input, shares),
  };
}

function whereNeeded(op: OpBuilder, needed: Value, input: SmallErrorsInput, shares: Value): { signed: Value; losses: Value } {
  const { rows, length } = input.layout;
  const { shape } = input.errors;
  const types = [
    { dtype: "float32", shape },
    { dtype: "float32", shape: shape?.slice(0, 1) },
  ] as const;
  const counted = { name: "counted", build: (inner: OpBuilder) => countedWeights(inner, input, shares) };
  const none = { name: "none", build: (inner: OpBuilder) => [filled(inner, 0, [rows, length]), filled(inner, 0, [rows])] };
  const [signed, losses] = conditional(op, needed, types, counted, none);
  return { signed: signed ?? bug("If without outputs"), losses: losses ?? bug("If without outputs") };
}

/** ±δ·share per pixel, and Σ e·δ·share of each row over the bins below `start`, e at the middle of its bin. */
function countedWeights(op: OpBuilder, { errors, foreground, counts, layout }: SmallErrorsInput, shares: Value): readonly [Value, Value] {
  const { rows, length } = layout;
  const width = columnsOf(bins);
  const bin = op.max(op.cast(op.min(op.mul(errors, 1 / step), bins - 1), "int32"), 0);
  const columns = op.add(bin, op.cast(op.mul(foreground.all(op), bins + 1), "int32"));
  const ones = filled(op, 1, [rows, length]);
  const zeros = filled(op, 0, [rows, width]);
  const counted = op.emit("ScatterElements", [zeros, columns, ones], { axis: 1, reduction: "add" });
  const table = op.mul(weightTable(op, op.cast(counted, counts.dtype), counts, rows, bins, false).table, shares);
  // The last bin holds what is sorted; column b of either half is empty.
  const middle = op.mul(op.add(wholeNumbers(op, "float32", bins), 0.5), step);
  const centres = op.concat([op.slice(middle, [{ axis: 0, start: 0, end: bins - 1 }]), filled(op, 0, [2])], 0);
  const perBin = op.mul(reshapeTo(op, op.mul(op.abs(table), counted), [rows, 2, bins + 1]), centres);
  return [op.emit("GatherElements", [table, columns], { axis: 1 }), op.reduceSum(op.reduceSum(perBin, [2]), [1])];
}
