/**
 * One element per pixel of a tensor over classes: that of the pixel's own class, taken out or put in place of what is
 * there. Void pixels stand for class 0.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { bug } from "../support/errors.ts";
import type { Labels } from "./labels.ts";
import { knownSize } from "./pixels.ts";

/** int32 [N,1,H·W]: the class of the pixel, 0 where it is void. */
export function ownClass(op: OpBuilder, labels: Labels): Value {
  return op.max(labels.index, 0);
}

/** The element of each pixel's own class: [N,C,H·W] → [N,1,H·W]. */
export function ofOwnClass(op: OpBuilder, x: Value, labels: Labels): Value {
  return op.emit("GatherElements", [x, ownClass(op, labels)], { axis: 1 });
}

/**
 * `x` with another element at each pixel's own class. As a vector where the positions fit int32: the CPU provider's
 * ScatterElements counts up every dimension for every element, and takes three times as long in three.
 * @param x [N,C,H·W]
 * @param perPixel [N,1,H·W]
 */
export function withOwnClass(op: OpBuilder, x: Value, labels: Labels, perPixel: Value): Value {
  const area = knownSize(labels.grid.area);
  const rows = rowsOfOwnClass(op, labels, dimsOf(x)[1], area);
  if (rows === undefined) return op.emit("ScatterElements", [x, ownClass(op, labels), perPixel], { axis: 1 });
  const positions = op.add(rows, wholeNumbers(op, "int32", area));
  const flat = (value: Value) => op.reshape(value, [-1]);
  return op.reshapeLike(op.emit("ScatterElements", [flat(x), flat(positions), flat(perPixel)], { axis: 0 }), x);
}

/**
 * What a table holds for a column of each pixel's own class.
 * @param table [N,C,n]
 * @param columns int32 [N,1,H·W]
 * @returns [N,1,H·W], or undefined where the positions are not known to fit int32
 */
export function lookUpOwnClass(op: OpBuilder, table: Value, labels: Labels, columns: Value): Value | undefined {
  const [, channels, width] = dimsOf(table);
  const rows = rowsOfOwnClass(op, labels, channels, typeof width === "number" ? width : Number.POSITIVE_INFINITY);
  if (rows === undefined) return undefined;
  const flat = (value: Value) => op.reshape(value, [-1]);
  return op.reshapeLike(op.emit("GatherElements", [flat(table), flat(op.add(rows, columns))], { axis: 0 }), columns);
}

/** (n·C + y)·length, int32 [N,1,H·W]: where the row of the pixel's own class begins in a tensor [N,C,length]. */
function rowsOfOwnClass(op: OpBuilder, labels: Labels, channels: unknown, length: number): Value | undefined {
  const images = knownSize(labels.grid.images);
  if (typeof channels !== "number" || !(images * channels * length < 2 ** 31)) return undefined;
  const own = ownClass(op, labels);
  const first = Array.from({ length: images }, (_, n) => n * channels);
  const row = images === 1 ? own : op.add(own, op.constant(tensorOf("int32", [images, 1, 1], first)));
  return op.mul(row, length);
}

/** 0, 1 … n−1. Stays a node: folded, it would be most of the file. */
export function wholeNumbers(op: OpBuilder, dtype: "int32" | "float32", n: number): Value {
  const bounds = [op.scalar(dtype, 0), op.scalar(dtype, n), op.scalar(dtype, 1)];
  const node = op.append("Range", "", bounds, {}, [{ dtype, shape: [n] }]);
  return node.outputs[0] ?? bug("Range without an output");
}
