/** Activations. Rules read the output where they can, so that the input need not be kept. */

import { largestFloat32 } from "../../ir/dtype.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorNumbers } from "../../ir/tensor.ts";
import type { OpBuilder } from "../../ops/builder.ts";
import { defineGradients, nonDifferentiable } from "../registry.ts";

/** A bound of Clip as a number, when it is a constant. */
function boundIs(bound: Value | undefined, infinite: number): boolean {
  if (bound === undefined) return true;
  return bound.constant !== undefined && tensorNumbers(bound.constant)[0] === infinite;
}

/** Whether both bounds are known and in order. */
function isBelow(low: Value, high: Value): boolean {
  if (low.constant === undefined || high.constant === undefined) return false;
  return Number(tensorNumbers(low.constant)[0]) <= Number(tensorNumbers(high.constant)[0]);
}

/**
 * Whether x times the largest number tells the sign of x: on the CPU, which calculates with infinities (WebGPU need not). It is less than 1 for
 * 0 < x < 3e-39 alone, and what comes between the slopes of both sides is a subgradient there as it is at 0.
 */
const hasStep = (op: OpBuilder, x: Value) => op.provider === "cpu" && x.dtype === "float32";

export const activation = defineGradients({
  // The subgradient at 0 is 0, as in PyTorch.
  Relu({ op, y: [y], dy, zero, later }) {
    if (!hasStep(op, y)) return [op.mul(dy, op.cast(op.greater(y, zero()), dy.dtype))];
    // min(1, y·largest): one pass where a comparison and its Cast are two.
    return [op.mul(dy, op.emit("HardSigmoid", [later(y)], { alpha: largestFloat32, beta: 0 }))];
  },
  LeakyRelu({ op, x: [x], dy, attrs, zero }) {
    const alpha = op.scalar(dy.dtype, attrs.alpha);
    if (!hasStep(op, x) || attrs.alpha > 1) return [op.mul(dy, op.where(op.greater(x, zero()), 1, alpha))];
    // x·largest is beyond both bounds, or 0: two thirds of the time of Where.
    return [op.mul(dy, op.emit("Clip", [op.mul(x, op.add(zero(), largestFloat32)), alpha, op.scalar(x.dtype, 1)]))];
  },
  PRelu({ op, x: [x, slope], dy, zero }) {
    const positive = op.greater(x, zero());
    return [op.where(positive, dy, op.mul(dy, slope)), op.mul(dy, op.where(positive, 0, x))];
  },
  // The gradient passes where min ≤ x ≤ max, as in PyTorch.
  Clip({ op, x: [x], y: [y], optional, dy, needs, zero, later }) {
    const [low, high] = [optional(1), optional(2)];
    const lower = low !== undefined && !boundIs(low, Number.NEGATIVE_INFINITY);
    const upper = high !== undefined && !boundIs(high, Number.POSITIVE_INFINITY);
    let mask: Value | undefined;
    // Between two bounds one comparison tells: what was not moved. It waits as a mask, a quarter of the size of x.
    if (lower && upper && isBelow(low, high)) mask = later(op.equal(x, y));
    else {
      if (lower) mask = op.greaterOrEqual(x, op.add(low, zero()));
      if (upper) {
        const below = op.lessOrEqual(x, high);
        mask = mask === undefined ? below : op.and(mask, below);
      }
    }
    const factor = mask === undefined ? undefined : op.cast(mask, dy.dtype);
    // y = min(max(x, low), high): where low is above high, y is high whatever x is.
    const raised = low === undefined ? x : op.max(x, low);
    const toLow = () => (low === undefined ? undefined : high === undefined ? op.less(x, low) : op.and(op.less(x, low), op.lessOrEqual(low, high)));
    const toHigh = () => (high === undefined ? undefined : op.greater(raised, high));
    const toBound = (index: number, hit: () => Value | undefined) => {
      const mask = needs(index) ? hit() : undefined;
      return mask && op.mul(dy, op.cast(mask, dy.dtype));
    };
    return [factor === undefined ? dy : op.mul(dy, factor), toBound(1, toLow), toBound(2, toHigh)];
  },
  Sigmoid: ({ op, y: [y], dy }) => [op.mul(dy, op.mul(y, op.sub(1, y)))],
  Tanh: ({ op, y: [y], dy }) => [op.mul(dy, op.sub(1, op.mul(y, y)))],
  // y = clamp(αx + β, 0, 1): linear where 0 < y < 1.
  HardSigmoid({ op, y: [y], dy, attrs, zero }) {
    const inside = op.and(op.greater(y, zero()), op.less(y, 1));
    return [op.mul(dy, op.mul(op.cast(inside, dy.dtype), attrs.alpha))];
  },
  // y = x·clamp(x/6 + 1/2, 0, 1): 0 below -3, 1 above 3, x/3 + 1/2 between.
  HardSwish({ op, x: [x], dy, zero, later }) {
    if (hasStep(op, x)) {
      // With h = clamp(x/6 + 1/2, 0, 1), where 0 < h < 1: x/3 + 1/2 = h + (h - 1/2). Two thirds of the time of Where.
      const h = op.emit("HardSigmoid", [later(x)], { alpha: 1 / 6, beta: 0.5 });
      const inside = op.emit("HardSigmoid", [op.sub(h, op.mul(h, h))], { alpha: largestFloat32, beta: 0 });
      return [op.mul(dy, op.add(h, op.mul(op.sub(h, 0.5), inside)))];
    }
    const slope = op.add(op.div(x, 3), op.add(zero(), 0.5));
    return [op.mul(dy, op.where(op.greater(x, -3), op.where(op.less(x, 3), slope, 1), 0))];
  },
  Softplus: ({ op, x: [x], dy }) => [op.mul(dy, op.sigmoid(x))],
  // y = x/(1 + |x|), dy/dx = 1/(1 + |x|)²
  Softsign({ op, x: [x], dy }) {
    const inverse = op.reciprocal(op.add(op.abs(x), 1));
    return [op.mul(dy, op.mul(inverse, inverse))];
  },
  // For x ≤ 0: y = α(e^x - 1), dy/dx = y + α.
  Elu: ({ op, x: [x], y: [y], dy, attrs }) => [op.mul(dy, op.where(op.greater(x, 0), 1, op.add(y, attrs.alpha)))],
  // For x ≤ 0: y = α(e^(x/α) - 1), dy/dx = y/α + 1.
  Celu: ({ op, x: [x], y: [y], dy, attrs }) => [op.mul(dy, op.where(op.greater(x, 0), 1, op.add(op.div(y, attrs.alpha), 1)))],
  // For x ≤ 0: y = γα(e^x - 1), dy/dx = y + γα.
  Selu({ op, x: [x], y: [y], dy, attrs }) {
    return [op.mul(dy, op.where(op.greater(x, 0), op.scalar(dy.dtype, attrs.gamma), op.add(y, attrs.gamma * attrs.alpha)))];
  },
  ThresholdedRelu: ({ op, x: [x], dy, attrs }) => [op.mul(dy, op.cast(op.greater(x, attrs.alpha), dy.dtype))],
  // y = x ± bias where |x| > lambd, else 0.
  Shrink: ({ op, x: [x], dy, attrs }) => [op.mul(dy, op.cast(op.greater(op.abs(x), attrs.lambd), dy.dtype))],
  // y = x·tanh(softplus(x)); with s = softplus(x): dy/dx = tanh s + x·(1 - tanh² s)·σ(x).
  Mish({ op, x: [x], dy }) {
    const t = op.tanh(op.emit("Softplus", [x]));
    return [op.mul(dy, op.add(t, op.mul(op.mul(x, op.sub(1, op.mul(t, t))), op.sigmoid(x))))];
  },
  // dx = y·(dy - Σ dy·y) along the axis.
  Softmax({ op, y: [y], dy, attrs }) {
    const product = op.mul(dy, y);
    return [op.sub(product, op.mul(y, op.reduceSum(product, [attrs.axis], true)))];
  },
  // dx = dy - e^y·Σ dy along the axis.
  LogSoftmax: ({ op, y: [y], dy, attrs }) => [op.sub(dy, op.mul(op.exp(y), op.reduceSum(dy, [attrs.axis], true)))],
  // What was kept was divided by 1 - ratio, if dropping took place at all. The ratio itself only says how often.
  Dropout({ op, y: [, mask], optional, dy }) {
    const [ratio, training] = [optional(1) ?? op.scalar(dy.dtype, 0.5), optional(2)];
    const grown = op.reciprocal(op.sub(1, ratio));
    const factor = training === undefined ? op.scalar(dy.dtype, 1) : op.where(training, grown, 1);
    return [op.mul(dy, op.where(mask, factor, 0))];
  },
  Hardmax: nonDifferentiable,
});
