/** Cases of activations and of softmax. */

import type { Provider } from "../../../src/ops/provider.ts";
import type { Case } from "../case.ts";
import { awayFrom, between, scalar, w, x } from "../operands.ts";

const unary = (op: string, about: string | undefined, sample = between(-2, 2), attrs: Record<string, unknown> = {}, opset = 18): Case => ({
  op,
  ...(about === undefined ? {} : { about }),
  inputs: [x([2, 3, 2], sample)],
  attrs,
  ...(opset === 18 ? {} : { opset }),
});

/** Lowered otherwise on the CPU. */
const lowerings: readonly Provider[] = ["any", "cpu"];

const everywhere = (given: Case): Case => ({ ...given, providers: lowerings });

export const activation: readonly Case[] = [
  everywhere(unary("Relu", undefined, awayFrom([0]))),
  everywhere(unary("LeakyRelu", undefined, awayFrom([0]))),
  everywhere(unary("LeakyRelu", "alpha", awayFrom([0]), { alpha: 0.3 })),
  everywhere(unary("LeakyRelu", "alpha below 0", awayFrom([0]), { alpha: -0.3 })),
  everywhere(unary("LeakyRelu", "alpha above 1", awayFrom([0]), { alpha: 1.3 })),
  { op: "PRelu", about: "a slope per channel", inputs: [x([2, 3, 2, 2], awayFrom([0])), w([3, 1, 1])] },
  { op: "PRelu", about: "a slope per element", inputs: [x([2, 3], awayFrom([0])), x([2, 3])] },
  { op: "PRelu", about: "one slope", inputs: [x([2, 3], awayFrom([0])), w([1])] },
  { op: "Clip", about: "both bounds", inputs: [x([3, 4], awayFrom([-0.5, 0.7])), scalar(-0.5), scalar(0.7)] },
  { op: "Clip", about: "lower bound only", inputs: [x([3, 4], awayFrom([0])), scalar(0)] },
  { op: "Clip", about: "upper bound only", inputs: [x([3, 4], awayFrom([1])), undefined, scalar(1)] },
  { op: "Clip", about: "no bounds", inputs: [x([3, 4])] },
  { op: "Clip", about: "bounds differentiated", inputs: [x([3, 4], awayFrom([-0.5, 0.7])), x([], between(-0.51, -0.49)), x([], between(0.69, 0.71))] },
  { op: "Clip", about: "bounds as attributes", inputs: [x([3, 4], awayFrom([0, 1.5]))], attrs: { min: 0.0000001, max: 1.5 }, opset: 10 },
  unary("Sigmoid", undefined),
  unary("Tanh", undefined),
  unary("HardSigmoid", undefined, awayFrom([-2.5, 2.5], -4, 4)),
  unary("HardSigmoid", "slope and offset", awayFrom([-1, 1]), { alpha: 0.5, beta: 0.5 }),
  everywhere(unary("HardSwish", undefined, awayFrom([-3, 3], -5, 5))),
  unary("Softplus", undefined),
  unary("Softsign", undefined, awayFrom([0])),
  unary("Elu", undefined, awayFrom([0])),
  unary("Elu", "alpha", awayFrom([0]), { alpha: 1.7 }),
  unary("Celu", undefined, awayFrom([0])),
  unary("Celu", "alpha", awayFrom([0]), { alpha: 1.7 }),
  unary("Selu", undefined, awayFrom([0])),
  unary("Selu", "alpha and gamma", awayFrom([0]), { alpha: 1.2, gamma: 0.8 }),
  unary("ThresholdedRelu", undefined, awayFrom([1])),
  unary("ThresholdedRelu", "alpha", awayFrom([0.4]), { alpha: 0.4 }),
  unary("Mish", undefined),
  unary("Shrink", undefined, awayFrom([-0.5, 0.5])),
  unary("Shrink", "bias and threshold", awayFrom([-0.8, 0.8]), { bias: 0.3, lambd: 0.8 }),
  unary("Gelu", "exact", between(-2, 2), {}, 20),
  unary("Gelu", "by tanh", between(-2, 2), { approximate: "tanh" }, 20),
  { op: "Swish", inputs: [x([2, 3])], opset: 24, viaNormalized: "opset 24 is newer than the runtime's kernels" },
  { op: "Swish", about: "alpha", inputs: [x([2, 3])], attrs: { alpha: 1.5 }, opset: 24, viaNormalized: "opset 24 is newer than the runtime's kernels" },
  unary("Softmax", "last axis"),
  unary("Softmax", "a middle axis", between(-2, 2), { axis: 1 }),
  unary("Softmax", "a negative axis", between(-2, 2), { axis: -3 }),
  unary("Softmax", "everything behind the axis", between(-2, 2), { axis: 1 }, 11),
  unary("LogSoftmax", "last axis"),
  unary("LogSoftmax", "a middle axis", between(-2, 2), { axis: 1 }),
  unary("LogSoftmax", "everything behind the axis", between(-2, 2), { axis: 1 }, 11),
];
