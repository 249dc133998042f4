/**
 * Which pixels are ranked together and what each class's loss counts in the mean: one set over the batch, or one per
 * image. A row of a set is one class; rows are ordered by image, then class.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { classCounts, type Labels } from "./labels.ts";
import type { LovaszOptions } from "./options.ts";
import { isPixelCountSmall, reshapeTo } from "./pixels.ts";
import { type RowLayout, rowLayout } from "./scan.ts";

/** Neighbouring classes handled together; `undefined`: all of a number known at run time only. */
export interface ClassGroup {
  readonly first: number;
  readonly count: number | undefined;
}

export interface LovaszSets {
  readonly perImage: boolean;
  readonly labels: Labels;
  /** Pixels per class, float32 or int32: [N,C] or [1,C]. */
  readonly counts: Value;
  /** a_c / M for each class, 0 for one that is not averaged: float32 [N,C] or [1,C]. */
  readonly shares: Value;
}

/**
 * @param weights a_c per class, 0 for classes outside a list; undefined: all 1
 * @param averaged number of classes of the mean; undefined: those present
 */
export function lovaszSets(op: OpBuilder, labels: Labels, options: LovaszOptions, weights: readonly number[] | undefined, averaged: Value | undefined): LovaszSets {
  const { perImage } = options;
  const counted = classCounts(op, labels, perImage);
  const exact = perImage ? counted : op.unsqueeze(counted, [0]);
  const small = isPixelCountSmall(perImage ? labels.grid.area : labels.grid.total);
  const present = op.cast(op.greater(exact, 0), "float32");
  const weighted = weights === undefined ? present : op.mul(present, op.constant(tensorOf("float32", [1, weights.length], weights)));
  return { perImage, labels, counts: op.cast(exact, small ? "float32" : "int32"), shares: perImage ? op.div(shares(), op.cast(labels.grid.images, "float32")) : shares() };

  function shares(): Value {
    if (averaged === undefined) return op.div(weighted, op.max(op.reduceSum(present, [1], true), 1));
    // A set without a valid pixel contributes 0, whatever is averaged.
    const occupied = op.reduceMax(present, [1], true);
    const each = weights === undefined ? op.filledLike(present, 1) : op.constant(tensorOf("float32", [1, weights.length], weights));
    return op.div(op.mul(occupied, each), averaged);
  }
}

/** [N,g,H·W] → [r,M] */
export function toRows(op: OpBuilder, x: Value, sets: LovaszSets): Value {
  const { grid } = sets.labels;
  if (sets.perImage) return reshapeTo(op, x, [-1, grid.area]);
  return reshapeTo(op, op.transpose(x, [1, 0, 2]), [-1, grid.total]);
}

/** [r,M] → [N,g,H·W] */
export function fromRows(op: OpBuilder, rows: Value, sets: LovaszSets, group: ClassGroup): Value {
  const { grid } = sets.labels;
  if (sets.perImage) return reshapeTo(op, rows, [grid.images, group.count ?? -1, grid.area]);
  return op.transpose(reshapeTo(op, rows, [group.count ?? -1, grid.images, grid.area]), [1, 0, 2]);
}

/** Columns of a group of a [N,C] or [1,C] table as [r,1]. */
export function rowsOfTable(op: OpBuilder, table: Value, group: ClassGroup): Value {
  return op.reshape(takeClasses(op, table, group), [-1, 1]);
}

/** Layout of the rows of a group. */
export function layoutOf(op: OpBuilder, sets: LovaszSets, group: ClassGroup): RowLayout {
  const { grid, classes } = sets.labels;
  const count = group.count ?? op.reshape(op.cast(classes, "int64"), [1]);
  const rows = !sets.perImage ? count : op.mul(grid.images, count);
  return rowLayout(rows, sets.perImage ? grid.area : grid.total);
}

/** The classes of a group along axis 1. */
export function takeClasses(op: OpBuilder, x: Value, { first, count }: ClassGroup): Value {
  if (count === undefined || count === dimsOf(x)[1]) return x;
  return op.slice(x, [{ axis: 1, start: first, end: first + count }]);
}

/** 1 where the pixel's label is the class of the row, float32 [N,g,H·W]. */
export function foregroundOf(op: OpBuilder, labels: Labels, { first, count }: ClassGroup): Value {
  const indices =
    count === undefined
      ? op.reshape(op.emit("Range", [op.scalar("int32", 0), labels.classes, op.scalar("int32", 1)]), [1, -1, 1])
      : op.constant(tensorOf("int32", [1, count, 1], Array.from({ length: count }, (_, i) => first + i)));
  return op.cast(op.equal(labels.index, indices), "float32");
}

/** Neighbouring members of a sorted list of classes, at most `size` together. */
export function groupsOf(members: readonly number[], size: number): ClassGroup[] {
  const groups: { first: number; count: number }[] = [];
  for (const index of members) {
    const last = groups.at(-1);
    if (last !== undefined && last.first + last.count === index && last.count < size) last.count += 1;
    else groups.push({ first: index, count: 1 });
  }
  return groups;
}

/** Results of the groups side by side, zeros for the classes between them: [N,C,H·W]. */
export function assembleClasses(op: OpBuilder, parts: readonly { group: ClassGroup; value: Value }[], channels: number | undefined): Value {
  const pieces: Value[] = [];
  let next = 0;
  const fill = (upTo: number, like: Value) => {
    if (upTo <= next) return;
    const one = op.mul(op.slice(like, [{ axis: 1, start: 0, end: 1 }]), 0);
    pieces.push(...Array.from({ length: upTo - next }, () => one));
  };
  for (const { group, value } of parts) {
    fill(group.first, value);
    pieces.push(value);
    next = group.first + (group.count ?? 0);
  }
  const last = parts.at(-1);
  if (channels !== undefined && last !== undefined) fill(channels, last.value);
  return op.concat(pieces, 1);
}
