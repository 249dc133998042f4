/**
 * Lovász-Softmax over one or several groups of classes: the value, and G_i[c] = (a_c/M)·(fg ? −1 : +1)·δ_c(i), the
 * gradient at the probabilities. Groups bound the memory: what a group needs dies with it.
 */

import type { Value } from "../ir/graph.ts";
import { type OpBuilder } from "../ops/builder.ts";
import { histogramWeights } from "./histogram.ts";
import type { Labels } from "./labels.ts";
import {
  assembleClasses,
  type ClassGroup,
  foregroundOf,
  fromRows,
  groupsOf,
  layoutOf,
  type LovaszSets,
  lovaszSets,
  rowsOfTable,
  takeClasses,
  toRows,
} from "./lovasz-sets.ts";
import type { LovaszOptions } from "./options.ts";
import { knownSize } from "./pixels.ts";
import { rankErrors, scatterToPixels } from "./ranks.ts";
import { rowSums } from "./scan.ts";

export interface LovaszTerm {
  /** float32 scalar, before its weight. */
  readonly value: Value;
  /** Gradient at the probabilities (hinge: at the logits) times weight and scale; where asked. */
  readonly gradient: Value | undefined;
}

/** What one group yields: Σ over its rows of share · L, and its part of the gradient as rows. */
export interface GroupResult {
  readonly value: Value;
  readonly gradient: Value | undefined;
}

/** A group as rows: probabilities and foreground [r,M], count and share [r,1]. */
export interface GroupRows {
  readonly probabilities: Value;
  readonly foreground: Value;
  readonly counts: Value;
  readonly shares: Value;
}

/** Elements ranked or counted together: more classes at a time save nothing and cost memory. */
const groupElements = { exact: 1 << 20, histogram: 1 << 20 };

/**
 * @param probabilities float32 [N,C,H·W]
 * @param channels C where it is known
 * @param factor weight · scale for the gradient; undefined: no gradient
 */
export function lovaszSoftmax(op: OpBuilder, probabilities: Value, labels: Labels, channels: number | undefined, options: LovaszOptions, factor: number | undefined): LovaszTerm {
  const sets = softmaxSets(op, labels, channels, options);
  const pixels = Math.min(knownSize(labels.grid.total), 1 << 21);
  const size = Math.max(options.method === "exact" ? 4 : 1, Math.round(groupElements[options.method] / pixels));
  const members = typeof options.classes === "string" ? Array.from({ length: channels ?? 0 }, (_, i) => i) : [...options.classes].sort((a, b) => a - b);
  const groups = channels === undefined ? [{ first: 0, count: undefined }] : groupsOf(members, size);
  const results = groups.map((group) => {
    const rows = groupRows(op, probabilities, sets, group);
    const result = options.method === "exact" ? exactGroup(op, rows, sets, group, options, factor) : histogramWeights(op, rows, sets, group, options, factor);
    return { group, ...result, gradient: result.gradient && fromRows(op, result.gradient, sets, group) };
  });
  const parts = results.flatMap(({ group, gradient }) => (gradient === undefined ? [] : [{ group, value: gradient }]));
  return {
    value: op.sum(results.map(({ value }) => value)),
    gradient: factor === undefined ? undefined : assembleClasses(op, parts, channels),
  };
}

function softmaxSets(op: OpBuilder, labels: Labels, channels: number | undefined, options: LovaszOptions): LovaszSets {
  const { classes, classWeights } = options;
  const inMean = (index: number): boolean => typeof classes === "string" || classes.includes(index);
  const plain = classWeights === null && typeof classes === "string";
  const weights = plain ? undefined : Array.from({ length: channels ?? 0 }, (_, c) => (inMean(c) ? (classWeights?.[c] ?? 1) : 0));
  if (classes === "present") return lovaszSets(op, labels, options, weights, undefined);
  const averaged = classes === "all" ? op.cast(labels.classes, "float32") : op.scalar("float32", classes.length);
  return lovaszSets(op, labels, options, weights, averaged);
}

function groupRows(op: OpBuilder, probabilities: Value, sets: LovaszSets, group: ClassGroup): GroupRows {
  return {
    probabilities: toRows(op, takeClasses(op, probabilities, group), sets),
    foreground: toRows(op, foregroundOf(op, sets.labels, group), sets),
    counts: rowsOfTable(op, sets.counts, group),
    shares: rowsOfTable(op, sets.shares, group),
  };
}

function exactGroup(op: OpBuilder, rows: GroupRows, sets: LovaszSets, group: ClassGroup, options: LovaszOptions, factor: number | undefined): GroupResult {
  const { probabilities, foreground, counts, shares } = rows;
  const errors = op.abs(op.sub(foreground, probabilities));
  // The smallest foreground error; 1 in a row without foreground.
  const lowest = op.sub(1, op.reduceMax(op.mul(foreground, probabilities), [1], true));
  const layout = layoutOf(op, sets, group);
  const ranked = rankErrors(op, { errors, foreground, counts, lowest, layout, lineLength: sets.labels.grid.width, countEmpty: options.classes !== "present" });
  const losses = rowSums(op, op.mul(ranked.errors, ranked.weights), ranked.layout);
  const value = op.reduceSum(op.mul(losses, op.reshape(shares, [-1])), [0]);
  if (factor === undefined) return { value, gradient: undefined };
  const signed = op.mul(ranked.weights, op.sub(1, op.mul(ranked.foreground, 2)));
  const perRank = op.mul(signed, op.mul(shares, factor));
  return { value, gradient: scatterToPixels(op, perRank, ranked, errors) };
}
