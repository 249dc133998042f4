/**
 * The head of one channel: sigmoid cross-entropy over the hard pixels, and Lovász as hinge, smooth hinge, or the
 * softmax form of the class 1 alone.
 */

import { largestFloat32 } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { averageKept, type CrossEntropyTerm, weightOfLabel } from "./cross-entropy.ts";
import { backgroundColumn, foregroundColumn, histogramTerm } from "./histogram.ts";
import type { Labels } from "./labels.ts";
import { exactGroup, type LovaszTerm } from "./lovasz.ts";
import {
  type ClassGroup,
  fromRows,
  type GroupRows,
  type LovaszSets,
  layoutOf,
  lovaszSets,
  perSet,
  rowsOfTable,
  takeClasses,
  toRows,
  wholeForeground,
} from "./lovasz-sets.ts";
import type { LovaszOptions, ResolvedLossOptions } from "./options.ts";
import { selectHard } from "./ranking.ts";
import { rankErrors, scatterToPixels } from "./ranks.ts";
import { rowSums } from "./scan.ts";

/** 1 where the label is 1, float32 [N,1,H·W]. */
export function positives(op: OpBuilder, labels: Labels): Value {
  return op.cast(op.equal(labels.index, 1), "float32");
}

/** log(1 + exp x), without overflow. */
function softplus(op: OpBuilder, x: Value): Value {
  return op.add(op.relu(x), op.log(op.add(op.exp(op.neg(op.abs(x))), 1)));
}

/** Sigmoid cross-entropy and its gradient at the logits, both [N,1,H·W] per pixel. */
export function binaryCrossEntropy(
  op: OpBuilder,
  logits: Value,
  labels: Labels,
  options: ResolvedLossOptions["ce"],
  scale: number,
): { term: CrossEntropyTerm; gradient: Value } {
  const { classWeights, labelSmoothing: epsilon } = options;
  const positive = positives(op, labels);
  const sign = op.sub(op.mul(positive, 2), 1);
  const margin = op.mul(sign, logits);
  const own = softplus(op, op.neg(margin));
  const labelWeights = classWeights === null ? undefined : weightOfLabel(op, classWeights, labels);
  const weighted = labelWeights === undefined ? own : op.mul(labelWeights, own);
  const ranked = options.hardness === "loss" ? weighted : op.sigmoid(margin);
  const selection = selectHard(op, ranked, labels, options);
  const [w0 = 1, w1 = 1] = classWeights ?? [];
  // ℓ = w1·t·softplus(−z) + w0·(1−t)·softplus(z) with the target t = y(1−ε) + ε/2.
  const target1 = op.mul(op.add(op.mul(positive, 1 - epsilon), epsilon / 2), w1);
  const target0 = op.mul(op.sub(1, op.add(op.mul(positive, 1 - epsilon), epsilon / 2)), w0);
  const losses = epsilon === 0 ? weighted : op.add(op.mul(target1, softplus(op, op.neg(logits))), op.mul(target0, softplus(op, logits)));
  const term = averageKept(op, losses, labelWeights, selection, labels, options, scale);
  const difference = op.sub(op.mul(op.sigmoid(logits), op.add(target0, target1)), target1);
  return { term, gradient: op.mul(term.share, difference) };
}

/** The second of the two classes: the one whose loss is taken. */
const foregroundClass: ClassGroup = { first: 1, count: 1 };

/**
 * Lovász of the class 1; the gradient is at the logits.
 * @param factor weight · scale for the gradient; undefined: no gradient
 */
export function binaryLovasz(op: OpBuilder, logits: Value, labels: Labels, options: LovaszOptions, factor: number | undefined): LovaszTerm {
  const sets = lovaszSets(op, labels, options.perImage);
  const counted = options.classes === "present" ? takeClasses(op, sets.present, foregroundClass) : sets.occupied;
  const shares = op.mul(perSet(op, counted, sets), options.classWeights?.at(-1) ?? 1);
  const positive = positives(op, labels);
  const foreground = toRows(op, positive, sets);
  const rows = { foreground, counts: rowsOfTable(op, sets.counts, foregroundClass), shares: op.reshape(shares, [-1, 1]) };
  if (options.binary !== "sigmoid") return hinge(op, toRows(op, logits, sets), rows, sets, options, factor);
  const whole = op.sigmoid(logits);
  const p = options.ignore === "none" ? whole : op.where(labels.valid, whole, 0);
  const term =
    options.method === "exact"
      ? exactGroup(op, { ...rows, ...sigmoidErrors(op, toRows(op, p, sets), foreground) }, sets, foregroundClass, options, factor)
      : binaryHistogram(op, p, positive, shares, sets, options, factor);
  return { value: term.value, gradient: term.gradient && op.mul(term.gradient, op.mul(p, op.sub(1, p))) };
}

/** Errors of the class 1, the smallest foreground error (1 in a row without), and the foreground. */
function sigmoidErrors(op: OpBuilder, p: Value, foreground: Value): Pick<GroupRows, "errors" | "lowest" | "foreground"> {
  const lowest = op.sub(1, op.reduceMax(op.mul(foreground, p), [1], true));
  return { errors: op.abs(op.sub(foreground, p)), lowest, foreground: wholeForeground(foreground) };
}

function binaryHistogram(
  op: OpBuilder,
  p: Value,
  positive: Value,
  shares: Value,
  sets: LovaszSets,
  options: LovaszOptions,
  factor: number | undefined,
): LovaszTerm {
  const scaled = op.mul(p, options.bins);
  const column = op.where(op.greater(positive, 0.5), foregroundColumn(op, scaled, options.bins), backgroundColumn(op, scaled));
  // The shares have one column, that of the class 1; the counts have two.
  const only = { ...sets, counts: takeClasses(op, sets.counts, foregroundClass) };
  return histogramTerm(op, { p, scale: 1, columns: column, shares, sets: only, groups: [{ first: 0, count: 1 }], channels: 1, options }, factor);
}

const smallestNormal = 1.1754943508222875e-38;

/** Errors e = 1 − (2y−1)·z, each counted as relu(e), or as elu(e) + 1. */
function hinge(
  op: OpBuilder,
  logits: Value,
  rows: { foreground: Value; counts: Value; shares: Value },
  sets: LovaszSets,
  options: LovaszOptions,
  factor: number | undefined,
): LovaszTerm {
  const { foreground, counts, shares } = rows;
  const { labels } = sets;
  const plain = options.binary === "hinge";
  const bare = op.sub(1, op.mul(op.sub(op.mul(foreground, 2), 1), logits));
  const errors = options.ignore === "none" ? bare : op.where(toRows(op, labels.valid, sets), bare, -largestFloat32);
  const smallest = op.reduceMin(op.where(op.greater(foreground, 0.5), errors, largestFloat32), [1], true);
  // The plain hinge counts errors above 0 only.
  const lowest = plain ? op.max(smallest, smallestNormal) : smallest;
  const layout = layoutOf(op, sets, foregroundClass);
  const found = wholeForeground(foreground);
  const ranked = rankErrors(op, {
    errors,
    foreground: found,
    counts,
    lowest,
    layout,
    lineLength: labels.grid.width,
    countEmpty: options.classes !== "present",
  });
  // The derivative of either form; elu(e) + 1 is relu(e) plus it.
  const slope = plain ? op.cast(op.greater(ranked.errors, 0), "float32") : op.exp(op.min(ranked.errors, 0));
  const counted = plain ? op.relu(ranked.errors) : op.add(op.relu(ranked.errors), slope);
  const losses = rowSums(op, op.mul(counted, ranked.weights), ranked.layout);
  const value = op.reduceSum(op.mul(losses, op.reshape(shares, [-1])), [0]);
  if (factor === undefined) return { value, gradient: undefined };
  const signed = op.mul(op.mul(ranked.weights, slope), op.sub(1, op.mul(ranked.foreground, 2)));
  const scattered = scatterToPixels(op, op.mul(signed, op.mul(shares, factor)), ranked, layout);
  return { value, gradient: fromRows(op, scattered, sets, foregroundClass) };
}
