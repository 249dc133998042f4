/** Cases of normalization layers. */

import type { Case } from "../case.ts";
import { between, constant, data, w, x } from "../operands.ts";

const positive = between(0.5, 1.5);

export const normalization: readonly Case[] = [
  { op: "BatchNormalization", inputs: [x([2, 3, 2, 2]), w([3]), w([3]), w([3]), w([3], positive)], attrs: { epsilon: 0.01 } },
  {
    op: "BatchNormalization",
    about: "a matrix",
    inputs: [x([4, 3]), w([3]), w([3]), constant("float32", [3], [0.1, 0.2, -0.3]), constant("float32", [3], [1, 2, 0.5])],
  },
  {
    op: "BatchNormalization",
    about: "three dimensions",
    inputs: [x([2, 2, 2, 3, 2]), w([2]), w([2]), constant("float32", [2], [0.1, 0.2]), constant("float32", [2], [1, 2])],
  },
  { op: "InstanceNormalization", inputs: [x([2, 3, 3, 4]), w([3]), w([3])], attrs: { epsilon: 0.01 } },
  { op: "InstanceNormalization", about: "one dimension", inputs: [x([2, 2, 5]), w([2]), w([2])] },
  { op: "LayerNormalization", inputs: [x([2, 3, 4]), w([4]), w([4])], attrs: { epsilon: 0.01 } },
  { op: "LayerNormalization", about: "several axes", inputs: [x([2, 3, 4]), w([3, 4]), w([3, 4])], attrs: { axis: 1 } },
  { op: "LayerNormalization", about: "without bias", inputs: [x([2, 3, 4]), w([4])], attrs: { axis: -1 } },
  { op: "LayerNormalization", about: "statistics used", inputs: [x([2, 3, 4]), w([4]), w([4])], outputs: 3 },
  { op: "LpNormalization", inputs: [x([2, 3, 4])] },
  { op: "LpNormalization", about: "p = 1", inputs: [x([2, 3, 4], between(0.3, 1))], attrs: { axis: 1, p: 1 } },
  { op: "LRN", inputs: [x([2, 5, 2, 3], between(-1, 1), [1])], attrs: { size: 3, alpha: 0.5, beta: 0.75, bias: 1 } },
  {
    op: "LRN",
    about: "even size, one channel more",
    inputs: [x([1, 6, 2, 2], between(-1, 1), [1])],
    attrs: { size: 4, alpha: 0.2, beta: 0.5, bias: 2 },
    viaNormalized: "the runtime takes odd sizes only",
  },
  { op: "MeanVarianceNormalization", inputs: [x([2, 3, 2, 3])] },
  { op: "MeanVarianceNormalization", about: "axes", inputs: [x([2, 3, 2, 3])], attrs: { axes: [-2, -1] } },
  { op: "RMSNormalization", inputs: [x([2, 3, 4]), w([4])], opset: 23 },
  { op: "RMSNormalization", about: "several axes", inputs: [x([2, 3, 4]), w([3, 4])], attrs: { axis: 1, epsilon: 0.01 }, opset: 23 },
  { op: "GroupNormalization", about: "a scale per group", inputs: [x([2, 4, 3, 2]), w([2]), w([2])], attrs: { num_groups: 2, epsilon: 0.01 }, opset: 18 },
  { op: "GroupNormalization", about: "a scale per channel", inputs: [x([2, 4, 3, 2]), w([4]), w([4])], attrs: { num_groups: 2 }, opset: 21 },
  { op: "Dropout", about: "not training", inputs: [x([2, 3]), constant("float32", [], [0.5])] },
  { op: "Dropout", about: "a mask nobody reads", inputs: [x([2, 3])], attrs: {}, opset: 13, outputs: 2 },
  { op: "SoftmaxCrossEntropyLoss", inputs: [x([3, 4]), data("int64", [3], [0, 3, 1])] },
  {
    op: "SoftmaxCrossEntropyLoss",
    about: "pixels, weighted, ignored",
    inputs: [x([2, 3, 2, 2]), data("int64", [2, 2, 2], [0, 1, 2, 255, 1, 0, 0, 2]), w([3], positive)],
    attrs: { ignore_index: 255 },
  },
  { op: "NegativeLogLikelihoodLoss", about: "sum", inputs: [x([3, 4]), data("int64", [3], [0, 3, 1])], attrs: { reduction: "sum" } },
  { op: "NegativeLogLikelihoodLoss", about: "none", inputs: [x([2, 4, 3]), data("int64", [2, 3], [0, 3, 1, 2, 2, 0])], attrs: { reduction: "none" } },
];
