/**
 * The labels of a batch, looked at once: which pixels are valid, how many are not, how many pixels each class has.
 * Everything after this works on int32 or float32: other types have no comparison kernels on some providers.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { usageError } from "../support/errors.ts";
import { countPixels, exactSum, filled, type Grid, gridOf, isPixelCountSmall, reshapeTo } from "./pixels.ts";

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

const int32Limit = 2 ** 31 - 1;
const ranges = { uint8: [0, 255], int32: [-int32Limit - 1, int32Limit], int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] } as const;

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
  const narrow = asInt32(op, flat);
  const inRange = op.and(op.greaterOrEqual(narrow, 0), op.less(narrow, classes));
  const holds = ignoreIndex >= range[0] && ignoreIndex <= range[1];
  const ignored = holds ? isIgnored(op, flat, narrow, ignoreIndex) : undefined;
  const valid = ignored === undefined ? inRange : op.and(inRange, op.not(ignored));
  const validMask = op.cast(valid, "float32");
  const known = ignored === undefined ? inRange : op.or(inRange, ignored);
  const invalidMask = op.cast(op.not(known), "float32");
  return {
    grid,
    classes,
    index: op.where(valid, narrow, -1),
    valid,
    validMask,
    validCount: countPixels(op, validMask, grid, false),
    invalidCount: countPixels(op, invalidMask, grid, false),
  };
}

/** int64 is clamped first: 2³² must not become the class 0. */
function asInt32(op: OpBuilder, flat: Value): Value {
  const clamped = flat.dtype === "int64" ? op.max(op.min(flat, int32Limit), -int32Limit - 1) : flat;
  return op.cast(clamped, "int32");
}

/** The ends of the int32 range also stand for what was clamped to them: there, int64 labels are compared themselves. */
function isIgnored(op: OpBuilder, flat: Value, narrow: Value, ignoreIndex: number): Value {
  const clampedAway = flat.dtype === "int64" && Math.abs(ignoreIndex) >= int32Limit;
  return clampedAway ? op.equal(flat, ignoreIndex) : op.equal(narrow, ignoreIndex);
}

/**
 * Pixels per class and image, or over the batch: int64 [N,C] or [C]. One scatter over the labels, row by row: counts
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
  if (!perImage) return exactSum(op, kept, [0], isPixelCountSmall(grid.total));
  return exactSum(op, reshapeTo(op, kept, [grid.images, grid.height, classSize]), [1], isPixelCountSmall(grid.area));
}
