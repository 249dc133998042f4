/**
 * Lovász-Softmax over one or several groups of classes: the value, and G_i[c] = (a_c/M)·(fg ? −1 : +1)·δ_c(i), the
 * gradient at the probabilities. Groups bound the memory: what a group needs dies with it.
 */

import type { Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { type ClassErrors, classErrors } from "./class-errors.ts";
import { backgroundColumn, foregroundColumn, histogramTerm } from "./histogram.ts";
import type { Labels } from "./labels.ts";
import {
  assembleClasses,
  type ClassGroup,
  foregroundOf,
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
import { lookUpOwnClass, ofOwnClass, withOwnClass } from "./own-class.ts";
import { knownSize } from "./pixels.ts";
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

/** The gradient at the probabilities p′ = s·p of a softmax, G′ = G/s, and what the gradient at the logits needs of it. */
export interface SoftmaxGradient {
  /** G′, [N,C,H·W] */
  readonly all: Value;
  /** G′_i[y_i], [N,1,H·W]; of class 0 at void pixels. */
  readonly own: Value;
  /** ⟨p′,G′⟩, [N,1,H·W] */
  readonly dot: Value;
  /** p′ but for each pixel's own class, [N,C,H·W]. */
  readonly others: Value;
}

export interface SoftmaxLovaszTerm {
  readonly value: Value;
  readonly gradient: SoftmaxGradient | undefined;
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
  probabilities: Probabilities,
  labels: Labels,
  channels: number | undefined,
  options: LovaszOptions,
  factor: number | undefined,
): SoftmaxLovaszTerm {
  const { all: p, own, scale } = probabilities;
  const sets = lovaszSets(op, labels, options.perImage);
  const shares = sharesOf(op, sets, channels, options);
  const members = typeof options.classes === "string" ? Array.from({ length: channels ?? 0 }, (_, i) => i) : [...options.classes].sort((a, b) => a - b);
  const groups = channels === undefined ? [{ first: 0, count: undefined }] : groupsOf(members, groupSize(labels, channels, options.method));
  if (options.method === "histogram") {
    const ownColumns = ownColumnsOfErrors(op, own, labels, options.bins);
    const columns = withOwnClass(op, backgroundColumn(op, p), labels, ownColumns);
    const { value, gradient, dot, table } = histogramTerm(op, { p, scale, columns, shares, sets, groups, channels, options }, factor);
    const atOwn = gradient && (lookUpOwnClass(op, table, labels, ownColumns) ?? ofOwnClass(op, gradient, labels));
    return { value, gradient: gradient && atOwn && { all: gradient, own: atOwn, dot, others: p } };
  }
  const errors = classErrors(op, probabilities, sets);
  const results = groups.map((group) => {
    const scope = scopeOf(op, group);
    const rows = {
      errors: toRows(scope, takeClasses(scope, errors.all, group), sets),
      lowest: rowsOfTable(scope, errors.lowest, group),
      foreground: foregroundOf(sets, group),
      counts: rowsOfTable(scope, sets.counts, group),
      shares: rowsOfTable(scope, shares, group),
    };
    return { group, ...exactGroup(scope, rows, sets, group, options, factor) };
  });
  const parts = results.flatMap(({ group, gradient }) => (gradient === undefined ? [] : [{ group, value: gradient }]));
  const value = op.sum(results.map((result) => result.value));
  if (factor === undefined) return { value, gradient: undefined };
  return { value, gradient: gradientOfErrors(op, assembleClasses(op, parts, channels), errors, own, labels) };
}

/** ⟨p,G⟩ = ⟨e,G⟩ + (p_y − e_y)·G_y: the probabilities themselves need not be kept beside the errors. */
function gradientOfErrors(op: OpBuilder, all: Value, errors: ClassErrors, own: Value, labels: Labels): SoftmaxGradient {
  const atOwn = ofOwnClass(op, all, labels);
  const difference = op.mul(op.sub(own, errors.own), atOwn);
  const dot = op.add(sumOverClasses(op, op.mul(errors.all, all)), difference);
  return { all, own: atOwn, dot, others: errors.all };
}

/** Nodes of a group are named after its first class. */
function scopeOf(op: OpBuilder, { first }: ClassGroup): OpBuilder {
  return op.scope(`from_class_${first}`);
}

/** Each pixel's own class as foreground; void pixels stay background. */
function ownColumnsOfErrors(op: OpBuilder, own: Value, labels: Labels, bins: number): Value {
  return op.where(labels.valid, foregroundColumn(op, own, bins), backgroundColumn(op, own));
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
  const { errors, foreground, counts, shares } = rows;
  const layout = layoutOf(op, sets, group);
  const small = smallErrors(op, { errors, foreground, counts, lowest: rows.lowest, layout });
  const lowest = small === undefined ? rows.lowest : op.max(rows.lowest, small.start);
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
