/**
 * The histogram method: Lovász is an integral over thresholds, so counting errors into bins replaces the sort. Counted
 * in pieces, weighted in one table, and looked up once for all classes.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { assembleClasses, type ClassGroup, type LovaszSets, sizeOfGroup } from "./lovasz-sets.ts";
import type { LovaszOptions } from "./options.ts";
import { exactCounts, filled, knownSize, reshapeTo, sizes, sumPixels } from "./pixels.ts";
import { sumOverClasses } from "./softmax.ts";
import { columnsOf, weightTable } from "./weight-table.ts";

/**
 * Columns of errors of the background: ⌊p·b⌋ as int32. A NaN may come out negative: it must not be an index.
 * @param scaled p·b
 */
export function backgroundColumn(op: OpBuilder, scaled: Value): Value {
  return op.max(op.cast(scaled, "int32"), 0);
}

/**
 * Columns of errors of the foreground: b + 1 + ⌊(1 − p)·b⌋ as int32.
 * @param scaled p·b
 */
export function foregroundColumn(op: OpBuilder, scaled: Value, bins: number): Value {
  return op.add(backgroundColumn(op, op.sub(bins, scaled)), bins + 1);
}

export interface HistogramInput {
  /** p · scale, float32 [N,C,H·W] */
  readonly p: Value;
  readonly scale: number;
  /** int32 [N,C,H·W] */
  readonly columns: Value;
  /** a_c/M, [N,C] or [1,C]; 0 for a class that no group has. */
  readonly shares: Value;
  readonly sets: LovaszSets;
  readonly groups: readonly ClassGroup[];
  readonly channels: number | undefined;
  readonly options: LovaszOptions;
}

export interface HistogramTerm {
  /** float32 scalar, before its weight. */
  readonly value: Value;
  /** Gradient at p · scale times weight and scale; where asked. */
  readonly gradient: Value | undefined;
  /** ⟨p·scale, gradient⟩, [N,1,H·W] */
  readonly dot: Value;
  /** The gradient of each column, [N,C,2b+2]. */
  readonly table: Value;
}

/**
 * G = share · factor · (fg ? −1 : +1) · δ of each column, and Σ e·δ = Σ p·G + Σ δ over the foreground: ⟨p,G⟩ is shared
 * with the gradient at the logits.
 */
export function histogramTerm(
  op: OpBuilder,
  { p, scale, columns, shares, sets, groups, channels, options }: HistogramInput,
  factor: number | undefined,
): HistogramTerm {
  const { grid } = sets.labels;
  // A factor of 0 would leave nothing to divide the value out of.
  const inside = factor === undefined || factor === 0 ? 1 : factor;
  const share = op.reshape(op.mul(shares, inside / scale), [-1, 1]);
  const width = columnsOf(options.bins);
  const pieces = piecesOf(columns, groups);
  const parts = groups.map((group) => ({ group, value: countColumns(op, columns, sets, group, options, pieces) }));
  const counted = reshapeTo(op, assembleClasses(op, parts, channels), [-1, width]);
  const classes = channels ?? op.reshape(op.cast(sets.labels.classes, "int64"), [1]);
  const rows = sets.perImage ? op.mul(grid.images, classes) : classes;
  const weights = weightTable(op, counted, op.reshape(sets.counts, [-1, 1]), rows, options.bins, options.classes !== "present");
  const perSet = reshapeTo(op, op.mul(weights.table, share), [sets.perImage ? grid.images : 1, classes, width]);
  const table = sets.perImage ? perSet : op.expand(perSet, sizes(op, [grid.images, classes, width]));
  const found = op.emit("GatherElements", [reshapeTo(op, table, [-1, width]), reshapeTo(op, columns, [-1, grid.area])], { axis: 1 });
  const gradient = op.reshapeLike(found, p);
  const dot = sumOverClasses(op, op.mul(p, gradient));
  const ofForeground = op.reduceSum(op.mul(weights.foreground, op.reshape(share, [-1])), [0]);
  const value = op.div(op.add(sumPixels(op, dot, grid), op.mul(ofForeground, scale)), inside);
  const nothing = (x: Value) => (factor === 0 ? op.mul(x, 0) : x);
  return { value, gradient: factor === undefined ? undefined : nothing(gradient), dot: nothing(dot), table: nothing(table) };
}

/**
 * Elements counted at once. The CPU provider copies the indices of a ScatterElements into memory of its own: four
 * times as many take 1.7 times as long each, because that memory is mapped anew.
 */
const elementsAtOnce = 1 << 20;

/** The nodes of a graph do not grow with the pixels beyond this many scatters. */
const mostScatters = 48;

/** Into how many equal runs of pixels the columns of a group are cut. */
function piecesOf(columns: Value, groups: readonly ClassGroup[]): number {
  const [images, , area] = columns.shape ?? [];
  const largest = Math.max(...groups.map(({ count }) => count ?? Number.NaN));
  if (typeof images !== "number" || typeof area !== "number" || area >= 2 ** 24 || Number.isNaN(largest)) return 1;
  const wanted = Math.ceil((images * area * largest) / elementsAtOnce);
  const allowed = Math.min(wanted, Math.floor(mostScatters / groups.length));
  for (let pieces = allowed; pieces > 1; pieces--) if (area % pieces === 0) return pieces;
  return 1;
}

/** Into how many runs of lines an image is cut so that each holds less than 2²⁴ pixels; sizes of the run: one. */
function partsOf(height: number, area: number): number {
  if (!Number.isFinite(area)) return 1;
  for (let parts = 1; parts < height; parts++) if (height % parts === 0 && area / parts < 2 ** 24) return parts;
  return height;
}

/**
 * Pixels per column, [N or 1, g, 2b+2], float32 or int32 as the class counts. Images are counted apart, where float32 is
 * exact: that also spares the transpose to rows over the batch.
 */
function countColumns(op: OpBuilder, columns: Value, sets: LovaszSets, group: ClassGroup, options: LovaszOptions, pieces: number): Value {
  const { grid, validMask } = sets.labels;
  const width = columnsOf(options.bins);
  const count = sizeOfGroup(op, sets.labels, group);
  const parts = partsOf(knownSize(grid.height), knownSize(grid.area));
  const rows = op.mul(op.mul(grid.images, count), parts);
  const length = op.div(op.div(grid.area, parts), pieces);
  const whole = sizes(op, [grid.images, count, op.div(grid.area, pieces)]);
  let counted = filled(op, 0, [rows, width]);
  for (let piece = 0; piece < pieces; piece++) {
    const taken = takePiece(op, columns, group, piece, pieces);
    const one = () => reshapeTo(op, op.expand(takePiece(op, validMask, { first: 0, count: 1 }, piece, pieces), whole), [rows, length]);
    const ones = options.ignore === "none" ? filled(op, 1, [rows, length]) : one();
    counted = op.emit("ScatterElements", [counted, reshapeTo(op, taken, [rows, length]), ones], { axis: 1, reduction: "add" });
  }
  const apart = reshapeTo(op, counted, [grid.images, count, parts, width]);
  const axes = sets.perImage ? [2] : [0, 2];
  const single = parts === 1 && (sets.perImage || knownSize(grid.images) === 1);
  const counts = single ? op.cast(counted, sets.counts.dtype) : exactCounts(op, apart, axes, sets.counts.dtype);
  return reshapeTo(op, counts, [sets.perImage ? grid.images : 1, count, width]);
}

/**
 * The classes of a group in one of several equal runs of pixels: [N,C,M] → [N,g,M/pieces]. All pieces together are one
 * Split to the runtime.
 */
function takePiece(op: OpBuilder, x: Value, { first, count }: ClassGroup, piece: number, pieces: number): Value {
  const [, channels, area] = x.shape ?? [];
  if (count === undefined || (pieces === 1 && count === channels)) return x;
  const runs = pieces === 1 || typeof area !== "number" || typeof channels !== "number" ? x : reshapeTo(op, x, [-1, channels * pieces, area / pieces]);
  const members = Array.from({ length: count }, (_, i) => (first + i) * pieces + piece);
  return op.gather(runs, op.ints(members), 1);
}
