/**
 * Lovász-Softmax over one or several groups of classes: the value, and G_i[c] = (a_c/M)·(fg ? −1 : +1)·δ_c(i), the
 * gradient at the probabilities. Groups bound the memory: what a group needs dies with it.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { backgroundColumn, columnsOf, foregroundColumn, histogramWeights } from "./histogram.ts";
import type { Labels } from "./labels.ts";
import {
  assembleClasses,
  type ClassGroup,
  foregroundRows,
  fromRows,
  type GroupRows,
  groupsOf,
  type LovaszSets,
  layoutOf,
  lovaszSets,
  perSet,
  rowsOfTable,
  takeClasses,
  toRows,
} from "./lovasz-sets.ts";
import type { LovaszOptions } from "./options.ts";
import { knownSize, reshapeTo, sumPixels } from "./pixels.ts";
import { rankErrors, scatterToPixels } from "./ranks.ts";
import { rowSums } from "./scan.ts";
import { smallErrors } from "./small-errors.ts";
import { type Probabilities, sumOverClasses } from "./softmax.ts";

export interface LovaszTerm {
  /** float32 scalar, before its weight. */
  readonly value: Value;
  /** Gradient at the probabilities as they were given (hinge: at the logits) times weight and scale; where asked. */
  readonly gradient: Value | undefined;
}

/** Elements ranked or counted together: more classes at a time save nothing and cost memory. */
const groupElements = 1 << 20;

/** The nodes of a graph do not grow with the classes beyond this many groups. */
const mostGroups = 24;

/** What the probabilities are multiplied by for a method: the histogram's columns then are their whole parts. */
export const scaleOfMethod = ({ method, bins }: LovaszOptions): number => (method === "histogram" ? bins : 1);

/** Classes of a group: enough rows to rank in parallel, otherwise as few as fill the group. */
function groupSize(labels: Labels, channels: number, method: LovaszOptions["method"]): number {
  const pixels = Math.min(knownSize(labels.grid.total), 1 << 21);
  return Math.max(method === "exact" ? 4 : 1, Math.round(groupElements / pixels), Math.ceil(channels / mostGroups));
}

/**
 * @param channels C where it is known
 * @param factor weight · scale for the gradient; undefined: no gradient
 */
export function lovaszSoftmax(
  op: OpBuilder,
  { all: p, own, scale }: Probabilities,
  labels: Labels,
  channels: number | undefined,
  options: LovaszOptions,
  factor: number | undefined,
): LovaszTerm {
  const sets = lovaszSets(op, labels, options.perImage);
  const shares = sharesOf(op, sets, channels, options);
  const members = typeof options.classes === "string" ? Array.from({ length: channels ?? 0 }, (_, i) => i) : [...options.classes].sort((a, b) => a - b);
  const groups = channels === undefined ? [{ first: 0, count: undefined }] : groupsOf(members, groupSize(labels, channels, options.method));
  if (options.method === "histogram") {
    const columns = columnsOfErrors(op, p, own, labels, options.bins);
    return histogramTerm(op, { p, scale, columns, shares, sets, groups, channels, options }, factor);
  }
  const results = groups.map((group) => {
    const scope = scopeOf(op, group);
    const rows = {
      probabilities: toRows(scope, takeClasses(scope, p, group), sets),
      foreground: foregroundRows(scope, sets, group),
      counts: rowsOfTable(scope, sets.counts, group),
      shares: rowsOfTable(scope, shares, group),
    };
    return { group, ...exactGroup(scope, rows, sets, group, options, factor) };
  });
  const parts = results.flatMap(({ group, gradient }) => (gradient === undefined ? [] : [{ group, value: gradient }]));
  return {
    value: op.sum(results.map(({ value }) => value)),
    gradient: factor === undefined ? undefined : assembleClasses(op, parts, channels),
  };
}

/** Nodes of a group are named after its first class. */
function scopeOf(op: OpBuilder, { first }: ClassGroup): OpBuilder {
  return op.scope(`from_class_${first}`);
}

/** Every class as background, then each pixel's own class as foreground: void pixels stay background. */
function columnsOfErrors(op: OpBuilder, p: Value, own: Value, labels: Labels, bins: number): Value {
  const column = op.where(labels.valid, foregroundColumn(op, own, bins), backgroundColumn(op, own));
  return op.emit("ScatterElements", [backgroundColumn(op, p), op.max(labels.index, 0), column], { axis: 1 });
}

export interface HistogramInput {
  /** p · scale, float32 [N,C,H·W] */
  readonly p: Value;
  readonly scale: number;
  /** int32 [N,C,H·W] */
  readonly columns: Value;
  readonly shares: Value;
  readonly sets: LovaszSets;
  readonly groups: readonly ClassGroup[];
  readonly channels: number | undefined;
  readonly options: LovaszOptions;
}

/**
 * Counted in groups of classes (a scatter over more than about 4 M indices takes twice as long for each), looked up
 * once for all of them. Σ ⟨p,G⟩ is shared with the gradient at the logits.
 */
export function histogramTerm(
  op: OpBuilder,
  { p, scale, columns, shares, sets, groups, channels, options }: HistogramInput,
  factor: number | undefined,
): LovaszTerm {
  const { grid } = sets.labels;
  // A factor of 0 would leave nothing to divide the value out of.
  const inside = factor === undefined || factor === 0 ? 1 : factor;
  const scaled = op.mul(shares, inside / scale);
  const results = groups.map((group) => ({ group, ...histogramWeights(scopeOf(op, group), takeClasses(op, columns, group), scaled, sets, group, options) }));
  const table = assembleClasses(
    op,
    results.map(({ group, table: value }) => ({ group, value })),
    channels,
  );
  const rows = reshapeTo(op, table, [-1, columnsOf(options.bins)]);
  const gradient = op.reshapeLike(op.emit("GatherElements", [rows, reshapeTo(op, columns, [-1, grid.area])], { axis: 1 }), p);
  const dot = sumPixels(op, sumOverClasses(op, op.mul(p, gradient)), grid);
  const value = op.div(op.add(dot, op.mul(op.sum(results.map((result) => result.value)), scale)), inside);
  return { value, gradient: factor === undefined ? undefined : factor === 0 ? op.mul(gradient, 0) : gradient };
}

/** a_c / M for each class, 0 for one that is not averaged: float32 [N,C] or [1,C]. */
function sharesOf(op: OpBuilder, sets: LovaszSets, channels: number | undefined, { classes, classWeights }: LovaszOptions): Value {
  const inMean = (index: number): boolean => typeof classes === "string" || classes.includes(index);
  const weights = Array.from({ length: channels ?? 0 }, (_, c) => (inMean(c) ? (classWeights?.[c] ?? 1) : 0));
  const plain = channels === undefined || weights.every((weight) => weight === 1);
  const weighted = (x: Value) => (plain ? x : op.mul(x, op.constant(tensorOf("float32", [1, weights.length], weights))));
  if (classes === "present") {
    const averaged = op.max(op.reduceSum(sets.present, [1], true), 1);
    return perSet(op, op.div(weighted(sets.present), averaged), sets);
  }
  const averaged = classes === "all" ? op.cast(sets.labels.classes, "float32") : op.scalar("float32", classes.length);
  return perSet(op, op.div(weighted(op.expandLike(sets.occupied, sets.present)), averaged), sets);
}

/** One group of classes, sorted: Σ share·L and the gradient at the probabilities. */
export function exactGroup(
  op: OpBuilder,
  rows: GroupRows,
  sets: LovaszSets,
  group: ClassGroup,
  options: LovaszOptions,
  factor: number | undefined,
): { value: Value; gradient: Value | undefined } {
  const { probabilities, foreground, counts, shares } = rows;
  const errors = op.abs(op.sub(foreground, probabilities));
  // The smallest foreground error; 1 in a row without foreground.
  const smallest = op.sub(1, op.reduceMax(op.mul(foreground, probabilities), [1], true));
  const layout = layoutOf(op, sets, group);
  const small = smallErrors(op, { errors, foreground, counts, lowest: smallest, layout });
  const lowest = small === undefined ? smallest : op.max(smallest, small.start);
  const ranked = rankErrors(op, { errors, foreground, counts, lowest, layout, lineLength: sets.labels.grid.width, countEmpty: options.classes !== "present" });
  // A factor of 0 would leave nothing to divide the value out of.
  const inside = factor || 1;
  const counted = small?.weights(op.mul(shares, inside));
  // A row with fewer errors than the longest one has some below the start among its ranks: these are counted. Without
  // foreground nothing is, and the first rank has all the weight.
  const start = small && op.where(op.less(counts, 1), -1, small.start);
  const sorted = start === undefined ? ranked.errors : op.where(op.greaterOrEqual(ranked.errors, start), ranked.errors, 0);
  const losses = rowSums(op, op.mul(sorted, ranked.weights), ranked.layout);
  const summed = op.reduceSum(op.mul(losses, op.reshape(shares, [-1])), [0]);
  const value = counted === undefined ? summed : op.add(summed, op.div(op.reduceSum(counted.losses, [0]), inside));
  if (factor === undefined) return { value, gradient: undefined };
  const signed = op.mul(ranked.weights, op.sub(1, op.mul(ranked.foreground, 2)));
  const perRank = op.mul(signed, op.mul(shares, factor));
  return { value, gradient: fromRows(op, scatterToPixels(op, perRank, ranked, layout, factor === 0 ? undefined : counted?.signed), sets, group) };
}
