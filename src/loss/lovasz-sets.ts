/**
 * Which pixels are ranked together and what each class's loss counts in the mean: one set over the batch, or one per
 * image. A row of a set is one class; rows are ordered by image, then class.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { classCounts, type Labels } from "./labels.ts";
import { knownSize, reshapeTo, sizes } from "./pixels.ts";
import { type RowLayout, rowLayout } from "./scan.ts";

/** Neighbouring classes handled together; `undefined`: all of a number known at run time only. */
export interface ClassGroup {
  readonly first: number;
  readonly count: number | undefined;
}

export interface LovaszSets {
  readonly perImage: boolean;
  readonly labels: Labels;
  /** Pixels per class, float32 or (2²⁴ pixels and more) int32: [N,C] or [1,C]. */
  readonly counts: Value;
  /** float32 0 or 1, like `counts` */
  readonly present: Value;
  /** float32 [N,1] or [1,1]: 1 where the set has a valid pixel; one without contributes 0, whatever is averaged. */
  readonly occupied: Value;
}

/** Where the label is the class of the row, as float32 0 or 1. */
export interface Foreground {
  /** [r,M] */
  readonly all: (op: OpBuilder) => Value;
  /** At some positions of each row: int64 [r,K] → [r,K]. */
  readonly at: (op: OpBuilder, positions: Value) => Value;
}

/** A group as rows. */
export interface GroupRows {
  /** e = |fg − p|, [r,M] */
  readonly errors: Value;
  /** No foreground error is smaller; 1 in a row without foreground, [r,1]. */
  readonly lowest: Value;
  readonly foreground: Foreground;
  /** G, [r,1] */
  readonly counts: Value;
  /** a_c/M, [r,1] */
  readonly shares: Value;
}

/** Number of classes of a group as int64 [1]. */
export function sizeOfGroup(op: OpBuilder, labels: Labels, { count }: ClassGroup): Value {
  return count === undefined ? op.reshape(op.cast(labels.classes, "int64"), [1]) : op.ints([count]);
}

export function lovaszSets(op: OpBuilder, labels: Labels, perImage: boolean): LovaszSets {
  const counted = classCounts(op, labels, perImage);
  const counts = perImage ? counted : op.unsqueeze(counted, [0]);
  const present = op.cast(op.greater(counts, 0), "float32");
  return { perImage, labels, counts, present, occupied: op.reduceMax(present, [1], true) };
}

/** The mean over the images of what each has; over the batch it is one set. */
export function perSet(op: OpBuilder, shares: Value, { perImage, labels }: LovaszSets): Value {
  return perImage ? op.div(shares, op.cast(labels.grid.images, "float32")) : shares;
}

/** Each image is a set, or there is one: rows lie as the pixels do. */
const liesInRows = ({ perImage, labels }: LovaszSets): boolean => perImage || knownSize(labels.grid.images) === 1;

/** [N,g,H·W] → [r,M]. Of one class it is a view, also of bool, which WebGPU does not transpose. */
export function toRows(op: OpBuilder, x: Value, sets: LovaszSets): Value {
  const { grid } = sets.labels;
  if (liesInRows(sets)) return reshapeTo(op, x, [-1, grid.area]);
  if (dimsOf(x)[1] === 1) return reshapeTo(op, x, [1, grid.total]);
  return reshapeTo(op, op.transpose(x, [1, 0, 2]), [-1, grid.total]);
}

/** [r,M] → [N,g,H·W] */
export function fromRows(op: OpBuilder, rows: Value, sets: LovaszSets, group: ClassGroup): Value {
  const { grid } = sets.labels;
  if (liesInRows(sets) || group.count === 1) return reshapeTo(op, rows, [grid.images, group.count ?? -1, grid.area]);
  return op.transpose(reshapeTo(op, rows, [group.count ?? -1, grid.images, grid.area]), [1, 0, 2]);
}

/** Columns of a group of a [N,C] or [1,C] table as [r,1]. */
export function rowsOfTable(op: OpBuilder, table: Value, group: ClassGroup): Value {
  return op.reshape(takeClasses(op, table, group), [-1, 1]);
}

/** Layout of the rows of a group. */
export function layoutOf(op: OpBuilder, sets: LovaszSets, group: ClassGroup): RowLayout {
  const { grid } = sets.labels;
  const count = sizeOfGroup(op, sets.labels, group);
  const rows = sets.perImage ? op.mul(grid.images, count) : count;
  return rowLayout(rows, sets.perImage ? grid.area : grid.total);
}

/** The classes of a group along axis 1. Gather copies on all threads, Slice on one; and WebGPU slices no integers. */
export function takeClasses(op: OpBuilder, x: Value, { first, count }: ClassGroup): Value {
  if (count === undefined || count === dimsOf(x)[1]) return x;
  return op.gather(x, op.ints(Array.from({ length: count }, (_, i) => first + i)), 1);
}

/**
 * Foreground of the rows of a group, from the labels as float32: WebGPU gathers no integers, and neither reshapes nor
 * casts the positions that TopK makes.
 */
export function foregroundOf(sets: LovaszSets, group: ClassGroup): Foreground {
  const { labels, perImage } = sets;
  const { images, area, total } = labels.grid;
  const setSize = perImage ? area : total;
  const index = (op: OpBuilder) => reshapeTo(op, op.cast(labels.index, "float32"), perImage ? [images, 1, area] : [1, total]);
  const isClass = (op: OpBuilder, found: Value) => op.cast(op.equal(found, classColumn(op, labels, group)), "float32");
  return {
    all: (op) => reshapeTo(op, isClass(op, index(op)), [-1, setSize]),
    at: (op, positions) => {
      const count = sizeOfGroup(op, labels, group);
      const rows = reshapeTo(op, op.expand(index(op), sizes(op, perImage ? [images, count, area] : [count, total])), [-1, setSize]);
      const found = op.emit("GatherElements", [rows, positions], { axis: 1 });
      return perImage ? op.reshapeLike(isClass(op, reshapeTo(op, found, [images, count, -1])), found) : isClass(op, found);
    },
  };
}

/** Foreground that lies there whole, float32 [r,M]. */
export function wholeForeground(rows: Value): Foreground {
  return { all: () => rows, at: (op, positions) => op.emit("GatherElements", [rows, positions], { axis: 1 }) };
}

/** The classes of a group, float32 [g,1]. */
function classColumn(op: OpBuilder, labels: Labels, { first, count }: ClassGroup): Value {
  if (count !== undefined)
    return op.constant(
      tensorOf(
        "float32",
        [count, 1],
        Array.from({ length: count }, (_, i) => first + i),
      ),
    );
  return op.reshape(op.emit("Range", [op.scalar("float32", 0), op.cast(labels.classes, "float32"), op.scalar("float32", 1)]), [-1, 1]);
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
