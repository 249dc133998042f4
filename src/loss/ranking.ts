/**
 * OHEM: which valid pixels are hard. Ranks one number per pixel, finds the value at the cut with a TopK no longer
 * than needed, and keeps what lies on the hard side of it. Comparisons are in float32, the limit rounded to it.
 */

import { largestFloat32 } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { contentOf } from "../ops/define.ts";
import { lowerApproximation, parseFraction } from "./fraction.ts";
import type { Labels } from "./labels.ts";
import type { ResolvedLossOptions } from "./options.ts";
import { countPixels, reshapeTo } from "./pixels.ts";

type CrossEntropy = ResolvedLossOptions["ce"];

export interface Selection {
  /** float32 [N,1,H·W]: 1 where the pixel is kept. */
  readonly mask: Value;
  /** int64 [1] */
  readonly count: Value;
  /** float32 scalar, or [N] with a budget per image: τ on the scale of what is ranked. */
  readonly threshold: Value;
}

/** The limit made from `threshold` alone: t, or −log t on the scale of the loss. */
export function limitOf({ threshold, hardness }: CrossEntropy): number {
  const t = Math.fround(threshold);
  if (hardness === "probability") return t;
  return t === 0 ? largestFloat32 : Math.fround(-Math.log(t));
}

/** What mining `off`, or a cross-entropy of weight 0, reports as threshold. */
export function limitValue(op: OpBuilder, options: CrossEntropy, labels: Labels): Value {
  const limit = op.scalar("float32", limitOf(options));
  return options.budget === "image" ? op.expand(limit, labels.grid.images) : limit;
}

/** @param ranked float32 [N,1,H·W]: the score of each pixel, or its loss with hardness `loss` */
export function selectHard(op: OpBuilder, ranked: Value, labels: Labels, options: CrossEntropy): Selection {
  if (options.mining === "off") {
    return { mask: labels.validMask, count: labels.validCount, threshold: limitValue(op, options, labels) };
  }
  const perImage = options.budget === "image";
  const ascending = options.hardness === "probability";
  const { grid } = labels;
  // Void pixels rank behind every value and behind every limit: nothing keeps them.
  const comparable = op.where(labels.valid, ranked, ascending ? largestFloat32 : -largestFloat32);
  const rows = reshapeTo(op, comparable, perImage ? [grid.images, grid.area] : [1, grid.total]);
  const valid = perImage ? countPixels(op, labels.validMask, grid, true) : labels.validCount;
  const threshold = cutOf(op, rows, valid, labels, options);
  const tau = perImage ? op.unsqueeze(threshold, [1, 2]) : threshold;
  const compare = { exclude: ascending ? "Less" : "Greater", include: ascending ? "LessOrEqual" : "GreaterOrEqual" } as const;
  const mask = op.cast(op.emit(compare[options.atCut], [comparable, tau]), "float32");
  return { mask, count: countPixels(op, mask, grid, false), threshold: perImage ? threshold : op.reshape(threshold, []) };
}

/**
 * τ per row: max(t, sorted[i]) ascending, min(limit, sorted[i]) for losses; the limit in a row without valid pixels.
 * i = min(k, n−1) with `exclude`, min(k, n)−1 with `include`.
 */
function cutOf(op: OpBuilder, rows: Value, valid: Value, labels: Labels, options: CrossEntropy): Value {
  const ascending = options.hardness === "probability";
  const limit = limitOf(options);
  const { grid } = labels;
  const perImage = options.budget === "image";
  const minKept = minKeptOf(op, options, perImage ? grid.area : grid.total, grid.images, valid);
  const at = options.atCut === "exclude" ? smaller(op, minKept, op.sub(valid, 1)) : op.sub(smaller(op, minKept, valid), 1);
  const position = op.max(at, 0);
  // Where more than `position` values lie on the hard side of the limit already, the cut cannot move it: rank one.
  const hard = op.cast(ascending ? op.lessOrEqual(rows, limit) : op.greaterOrEqual(rows, limit), "float32");
  const hardCount = countPixels(op, reshapeTo(op, hard, [grid.images, 1, grid.area]), grid, perImage);
  const needed = op.mul(position, op.cast(op.lessOrEqual(hardCount, position), "int64"));
  const length = op.add(perImage ? op.reduceMax(needed, [0], true) : needed, 1);
  const { values } = op.topK(rows, length, { axis: 1, largest: !ascending });
  const cut = op.squeeze(op.emit("GatherElements", [values, op.unsqueeze(needed, [1])], { axis: 1 }), [1]);
  const moved = ascending ? op.max(cut, limit) : op.min(cut, limit);
  return op.where(op.greater(valid, 0), moved, limit);
}

/** Min of int64 is wrong on the CPU provider (1.30) where the upper halves are equal and the lower ones pass 2³¹. */
function smaller(op: OpBuilder, a: Value, b: Value): Value {
  return op.where(op.less(a, b), a, b);
}

/** k ≥ 1 for each ranked row as int64 [1] or [N]. */
function minKeptOf(op: OpBuilder, { minKept, budget }: CrossEntropy, pixels: Value, images: Value, valid: Value): Value {
  if (typeof minKept === "number") return op.ints([Math.max(1, minKept)]);
  if ("perImage" in minKept) {
    const each = op.ints([Math.max(1, minKept.perImage)]);
    return budget === "image" ? each : op.mul(each, images);
  }
  return op.max(floorOfFraction(op, minKept.of === "valid" ? valid : pixels, minKept.fraction), 1);
}

/** Largest pixel count whose product with an approximated fraction fits int64. */
const largestCount = 2n ** 31n;

/** ⌊count · fraction⌋ in integers. */
function floorOfFraction(op: OpBuilder, count: Value, fraction: string): Value {
  const exact = parseFraction(fraction);
  const known = contentOf(count);
  if (known?.every((dim) => typeof dim === "number")) {
    return op.ints(known.map((dim) => Number((BigInt(dim) * exact.numerator) / exact.denominator)));
  }
  const { numerator, denominator } = lowerApproximation(exact, largestCount);
  return op.div(op.mul(count, Number(numerator)), Number(denominator));
}
