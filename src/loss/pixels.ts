/**
 * Sizes of the pixel grid the loss works on, and sums over it. A size is an int64 vector of one element, a constant
 * where it is known. Tensors with one number per pixel have the shape [N,1,H·W]; counts stay exact whatever the size.
 */

import type { Dim } from "../ir/dims.ts";
import type { DataType } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { contentOf } from "../ops/define.ts";
import { bug } from "../support/errors.ts";

/** Sizes at label resolution. */
export interface Grid {
  readonly images: Value;
  readonly height: Value;
  readonly width: Value;
  /** H·W */
  readonly area: Value;
  /** N·H·W */
  readonly total: Value;
}

/** Whole numbers are exact in float32 up to here. */
const exactFloat = 2 ** 24;

export function gridOf(op: OpBuilder, labels: Value): Grid {
  const [images, height, width] = [0, 1, 2].map((axis) => op.dim(labels, axis)) as [Value, Value, Value];
  const area = op.mul(height, width);
  return { images, height, width, area, total: op.mul(images, area) };
}

export function sizeOf(size: Value): Dim {
  return contentOf(size)?.[0] ?? "?";
}

/** Known number of a size; infinite where it is dynamic. */
export function knownSize(size: Value): number {
  const dim = sizeOf(size);
  return typeof dim === "number" ? dim : Number.POSITIVE_INFINITY;
}

/** Sizes as one int64 vector. */
export function sizes(op: OpBuilder, parts: readonly (number | Value)[]): Value {
  return op.concat(
    parts.map((part) => (typeof part === "number" ? op.ints([part]) : part)),
    0,
  );
}

/** Reshape to sizes of which some are known at run time only; one may be -1. */
export function reshapeTo(op: OpBuilder, x: Value, parts: readonly (number | Value)[]): Value {
  const known = parts.map((part) => (typeof part === "number" ? part : sizeOf(part)));
  const open = known.filter((dim) => typeof dim === "string").length;
  // One unknown size is what is left over: no shape arithmetic at run time.
  if (open === 0 || (open === 1 && !known.includes(-1) && !known.includes(0))) {
    return op.reshape(
      x,
      known.map((dim) => (typeof dim === "number" ? dim : -1)),
    );
  }
  return op.reshape(x, sizes(op, parts));
}

export function isPixelCountSmall(size: Value): boolean {
  return knownSize(size) < exactFloat;
}

/** The type that pixel counts up to `size` are kept in: float32 below 2²⁴, else int32. */
export function countType(size: Value): "float32" | "int32" {
  return isPixelCountSmall(size) ? "float32" : "int32";
}

/**
 * Sums whole numbers exactly: `rows` holds counts below 2²⁴ in float32; as float32 the result is below it too.
 * Above 2²⁴ the sum is taken in two parts, ⌊x/256⌋ and the rest, each small enough for float32: integer sums run in
 * float on CUDA. Exact up to 65 000 rows of 65 000.
 */
export function exactCounts(op: OpBuilder, rows: Value, axes: readonly number[], dtype: DataType): Value {
  if (dtype === "float32") return op.reduceSum(rows, axes);
  const high = op.floor(op.mul(rows, 1 / 256));
  const low = op.sub(rows, op.mul(high, 256));
  const [highSum, lowSum] = [high, low].map((part) => op.cast(op.reduceSum(part, axes), dtype)) as [Value, Value];
  return op.add(op.mul(highSum, 256), lowSum);
}

/** The same as int64, whatever the size. */
export function exactSum(op: OpBuilder, rows: Value, axes: readonly number[], small: boolean): Value {
  return small ? op.cast(op.reduceSum(rows, axes), "int64") : exactCounts(op, rows, axes, "int64");
}

/** Pixels where `mask` (float32 0 or 1, [N,1,H·W]) is 1: int64 [N] per image, or [1] over the batch. */
export function countPixels(op: OpBuilder, mask: Value, grid: Grid, perImage: boolean): Value {
  const rows = op.reduceSum(reshapeTo(op, mask, [grid.images, grid.height, grid.width]), [2]);
  if (perImage) return exactSum(op, rows, [1], isPixelCountSmall(grid.area));
  return op.reshape(exactSum(op, rows, [0, 1], isPixelCountSmall(grid.total)), [1]);
}

/** Sum over the batch of one number per pixel, row by row: one long sum would cost 7e-6 of the value. A scalar. */
export function sumPixels(op: OpBuilder, x: Value, grid: Grid): Value {
  const rows = op.reduceSum(reshapeTo(op, x, [op.mul(grid.images, grid.height), grid.width]), [1]);
  return op.reduceSum(rows, [0]);
}

/** An int64 vector of one element as a float32 scalar. */
export function scalarOf(op: OpBuilder, count: Value): Value {
  return op.reshape(op.cast(count, "float32"), []);
}

/**
 * Constant `number` in float32 at the given sizes. Stays a node also where the sizes are known: folded, it would be
 * most of the file.
 */
export function filled(op: OpBuilder, number: number, parts: readonly (number | Value)[]): Value {
  const shape = parts.map((part) => (typeof part === "number" ? part : sizeOf(part)));
  const node = op.append("Expand", "", [op.scalar("float32", number), sizes(op, parts)], {}, [{ dtype: "float32", shape }]);
  return node.outputs[0] ?? bug("Expand without an output");
}
