/**
 * The labels of a batch, looked at once: which pixels are valid, how many are not, how many pixels each class has.
 * Everything after this works on int32 or float32; int64 labels are compared as they are, so that 2³² is no class.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { usageError } from "../support/errors.ts";
import { countPixels, countType, exactCounts, filled, type Grid, gridOf, reshapeTo } from "./pixels.ts";

export interface Labels {
  readonly grid: Grid;
  /** Number of classes as an int32 scalar (2 for a one-channel head). */
  readonly classes: Value;
  /** int32 [N,1,H·W]: the class, or -1 where the pixel is not valid. */
  readonly index: Value;
  /** bool [N,1,H·W] */
  readonly valid: Value;
  /** float32 [N,1,H·W]: 1 at valid pixels. */
  readonly validMask: Value;
  /** int64 [1] */
  readonly validCount: Value;
  /** int64 [1]: labels that are neither a class nor the ignore index. */
  readonly invalidCount: Value;
}

const ranges = { uint8: [0, 255], int32: [-(2 ** 31), 2 ** 31 - 1], int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] } as const;

/**
 * @param labels uint8, int32 or int64 [N,H,W]
 * @param classes int32 scalar; labels from 0 up to it are classes
 * @throws OhemgenError E010 for another label type.
 */
export function readLabels(op: OpBuilder, labels: Value, classes: Value, ignoreIndex: number): Labels {
  const grid = gridOf(op, labels);
  const range = ranges[labels.dtype as keyof typeof ranges];
  if (range === undefined) throw usageError(`labels of type ${labels.dtype}`, "Labels are uint8, int32 or int64.", "E010");
  const flat = reshapeTo(op, labels, [grid.images, 1, grid.area]);
  const compared = flat.dtype === "uint8" ? op.cast(flat, "int32") : flat;
  const inRange = op.and(op.greaterOrEqual(compared, 0), op.less(compared, op.cast(classes, compared.dtype)));
  const holds = ignoreIndex >= range[0] && ignoreIndex <= range[1];
  const counts = holds ? op.not(op.equal(compared, ignoreIndex)) : undefined;
  const valid = counts === undefined ? inRange : op.and(inRange, counts);
  const validMask = op.cast(valid, "float32");
  const validCount = countPixels(op, validMask, grid, false);
  const notIgnored = counts === undefined ? grid.total : countPixels(op, op.cast(counts, "float32"), grid, false);
  return {
    grid,
    classes,
    index: op.where(valid, op.cast(compared, "int32"), -1),
    valid,
    validMask,
    validCount,
    invalidCount: op.sub(notIgnored, validCount),
  };
}

/**
 * Pixels per class and image, or over the batch: float32 or int32 (`countType`), [N,C] or [C]. One scatter over the labels, row by row: counts
 * in a row are exact in float32, and rows do not contend for the same counter on a GPU.
 */
export function classCounts(op: OpBuilder, { grid, classes, index, valid }: Labels, perImage: boolean): Value {
  const rows = op.mul(grid.images, grid.height);
  const classSize = op.reshape(op.cast(classes, "int64"), [1]);
  // Pixels without a class go to a column of their own, cut off afterwards.
  const column = reshapeTo(op, op.where(valid, index, classes), [rows, grid.width]);
  const zeros = filled(op, 0, [rows, op.add(classSize, 1)]);
  const ones = filled(op, 1, [rows, grid.width]);
  const counted = op.emit("ScatterElements", [zeros, column, ones], { axis: 1, reduction: "add" });
  const kept = op.emit("Slice", [counted, op.ints([0]), classSize, op.ints([1])]);
  if (!perImage) return exactCounts(op, kept, [0], countType(grid.total));
  return exactCounts(op, reshapeTo(op, kept, [grid.images, grid.height, classSize]), [1], countType(grid.area));
}
