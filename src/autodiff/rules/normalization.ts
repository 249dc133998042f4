/**
 * Normalization layers. With x̂ = (x - mean)·inv over a set of axes and y = x̂·scale + bias, the gradient is
 * dx = inv·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·scale; statistics are recomputed from x.
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { resolveAxis } from "../../ops/define.ts";
import { defineGradients } from "../registry.ts";

interface Normalized {
  readonly xhat: Value;
  readonly inv: Value;
}

/** `zero`: keeps what is recomputed here from being made long before it is used. */
function normalized(op: OpBuilder, x: Value, axes: readonly number[], epsilon: number, zero: Value): Normalized {
  const centered = op.sub(x, op.add(op.reduceMean(x, axes, true), zero));
  const variance = op.reduceMean(op.mul(centered, centered), axes, true);
  const inv = op.reciprocal(op.sqrt(op.add(variance, epsilon)));
  return { xhat: op.mul(centered, inv), inv };
}

function inputGradient(op: OpBuilder, { xhat, inv }: Normalized, g: Value, axes: readonly number[]): Value {
  const mean = op.reduceMean(g, axes, true);
  const slope = op.reduceMean(op.mul(g, xhat), axes, true);
  return op.mul(inv, op.sub(op.sub(g, mean), op.mul(xhat, slope)));
}

/** A per-channel vector `[C]` in the shape `[C,1,…]` that meets the channel axis of a tensor of `rank`. */
function perChannel(op: OpBuilder, vector: Value, rank: number): Value {
  return op.unsqueeze(
    vector,
    Array.from({ length: rank - 2 }, (_, i) => i + 1),
  );
}

export const normalization = defineGradients({
  LayerNormalization({ op, x: [x, scale], dy, attrs, zero }) {
    const rank = dimsOf(x).length;
    const from = resolveAxis("LayerNormalization", attrs.axis, rank);
    const axes = Array.from({ length: rank - from }, (_, i) => from + i);
    const parts = normalized(op, x, axes, attrs.epsilon, zero());
    return [inputGradient(op, parts, op.mul(dy, scale), axes), op.mul(dy, parts.xhat), dy];
  },
  InstanceNormalization({ op, x: [x, scale], dy, attrs, zero }) {
    const rank = dimsOf(x).length;
    const axes = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    const parts = normalized(op, x, axes, attrs.epsilon, zero());
    const rows = [0, ...axes];
    return [inputGradient(op, parts, op.mul(dy, perChannel(op, scale, rank)), axes), op.reduceSum(op.mul(dy, parts.xhat), rows), op.reduceSum(dy, rows)];
  },
  // Frozen statistics: an affine map per channel, y = (x - mean)·inv·scale + bias. Batch statistics are written
  // out by normalization and never arrive here.
  BatchNormalization({ op, x: [x, scale, , mean, variance], dy, attrs, needs }) {
    const rank = dimsOf(x).length;
    const inv = op.reciprocal(op.sqrt(op.add(variance, attrs.epsilon)));
    const rows = [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];
    const dBias = op.reduceSum(dy, rows);
    // Σ dy·x̂ = inv·(Σ dy·x - mean·Σ dy)
    const dScale = op.mul(inv, op.sub(op.reduceSum(op.mul(dy, x), rows), op.mul(mean, dBias)));
    const slope = op.mul(scale, inv);
    const dMean = needs(3) ? op.neg(op.mul(slope, dBias)) : undefined;
    // d inv = -½·inv³ d variance
    const dVariance = needs(4) ? op.mul(op.mul(op.mul(slope, inv), dScale), -0.5) : undefined;
    return [op.mul(dy, perChannel(op, slope, rank)), dScale, dBias, dMean, dVariance];
  },
});
