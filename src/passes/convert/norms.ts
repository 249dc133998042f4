/** Normalization layers that opset 18 lacks, or that few runtimes have kernels for, written as their definition. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { resolveAxis } from "../../ops/define.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

export function perChannel(op: OpBuilder, vector: Value, rank: number): Value {
  return op.unsqueeze(
    vector,
    Array.from({ length: rank - 2 }, (_, i) => i + 1),
  );
}

/** Groups of channels normalized together, then scale and bias. */
const groupNormalization: Converter = ({ op, input, int, float, version }) => {
  const x = input(0);
  const rank = dimsOf(x).length;
  const groups = int("num_groups", 1);
  const rows = op.reshape(x, op.concat([op.dim(x, 0), op.ints([groups, -1])], 0));
  const mean = op.reduceMean(rows, [2], true);
  const centered = op.sub(rows, mean);
  const variance = op.reduceMean(op.mul(centered, centered), [2], true);
  const normalized = op.mul(centered, op.reciprocal(op.sqrt(op.add(variance, float("epsilon", 1e-5)))));
  // Before opset 21 scale and bias had one element per group.
  const channelwise = (vector: Value) => perChannel(op, vector, rank);
  if (version >= 21) return [op.add(op.mul(op.reshapeLike(normalized, x), channelwise(input(1))), channelwise(input(2)))];
  const perGroup = (vector: Value) => op.unsqueeze(vector, [1]);
  return [op.reshapeLike(op.add(op.mul(normalized, perGroup(input(1))), perGroup(input(2))), x)];
};

/** x/√(mean(x²) + ε)·scale over the axes from `axis` on. */
const rmsNormalization: Converter = ({ op, input, int, float }) => {
  const x = input(0);
  const rank = dimsOf(x).length;
  const from = resolveAxis("RMSNormalization", int("axis", -1), rank);
  const axes = Array.from({ length: rank - from }, (_, i) => from + i);
  const square = op.reduceMean(op.mul(x, x), axes, true);
  return [op.mul(op.mul(x, op.reciprocal(op.sqrt(op.add(square, float("epsilon", 1e-5))))), input(1))];
};

/** x/‖x‖ along an axis; a row of zeros stays one. */
const lpNormalization: Converter = ({ op, input, int }) => {
  const x = input(0);
  const axis = op.ints([int("axis", -1)]);
  const norm = op.emit(int("p", 2) === 1 ? "ReduceL1" : "ReduceL2", [x, axis], { keepdims: 1 });
  return [op.div(x, op.where(op.equal(norm, 0), 1, norm))];
};

/** x/(bias + α·mean of x² over a window of channels)^β; the mean is an average pool along the channels. */
const localResponse: Converter = ({ op, input, int, float }) => {
  const x = input(0);
  const size = int("size", 1);
  const channels = op.dim(x, 1);
  const rows = op.reshape(op.mul(x, x), op.concat([op.dim(x, 0), op.ints([1]), channels, op.ints([-1])], 0));
  const [before, behind] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
  const attrs = { kernel_shape: [size, 1], pads: [before, 0, behind, 0], count_include_pad: 1 };
  const mean = op.reshapeLike(op.emit("AveragePool", [rows], attrs), x);
  const base = op.add(op.mul(mean, float("alpha", 1e-4)), float("bias", 1));
  return [op.div(x, op.pow(base, float("beta", 0.75)))];
};

/** (x - mean)/(σ + 10⁻⁹), as the ONNX function body has it. */
const meanVariance: Converter = ({ op, input, ints }) => {
  const x = input(0);
  const rank = dimsOf(x).length;
  const axes = (ints("axes") ?? [0, 2, 3]).map((axis) => resolveAxis("MeanVarianceNormalization", axis, rank));
  const centered = op.sub(x, op.reduceMean(x, axes, true));
  const deviation = op.sqrt(op.reduceMean(op.mul(centered, centered), axes, true));
  return [op.div(centered, op.add(deviation, 1e-9))];
};

/** Outputs besides the first are statistics: computed apart, so that a gradient through them is right too. */
const layerNormalization: Converter = ({ op, node, input, int, float, same }) => {
  if (node.outputs.slice(1).every((value) => value === undefined)) return same();
  const x = input(0);
  const rank = dimsOf(x).length;
  const from = resolveAxis("LayerNormalization", int("axis", -1), rank);
  const axes = Array.from({ length: rank - from }, (_, i) => from + i);
  const mean = op.reduceMean(x, axes, true);
  const centered = op.sub(x, mean);
  const inverse = op.reciprocal(op.sqrt(op.add(op.reduceMean(op.mul(centered, centered), axes, true), float("epsilon", 1e-5))));
  const scaled = op.mul(op.mul(centered, inverse), input(1));
  const bias = node.inputs[2] === undefined ? undefined : input(2);
  return [bias === undefined ? scaled : op.add(scaled, bias), mean, inverse];
};

/** Sum, mean by weight, or nothing: how a loss per element becomes the output. */
function reducedLoss({ op, string }: ConvertContext, loss: Value, weight: Value): Value {
  switch (string("reduction", "mean")) {
    case "none":
      return loss;
    case "sum":
      return op.reduceSum(loss);
    default:
      return op.div(op.reduceSum(loss), op.reduceSum(weight));
  }
}

/** -weight[label]·logp[label]; labels equal to `ignore_index` have weight 0. */
function negativeLikelihood(context: ConvertContext, logp: Value): Value {
  const { op, node, x, input } = context;
  const labels = op.cast(input(1), "int64");
  const ignored = node.attributes["ignore_index"]?.value as number | undefined;
  const valid = ignored === undefined ? undefined : op.not(op.equal(labels, ignored));
  const safe = valid === undefined ? labels : op.where(valid, labels, 0);
  const picked = op.squeeze(op.emit("GatherElements", [logp, op.unsqueeze(safe, [1])], { axis: 1 }), [1]);
  const given = x[2] === undefined ? op.filledLike(picked, 1) : op.gather(x[2], safe, 0);
  const weight = valid === undefined ? given : op.mul(given, op.cast(valid, given.dtype));
  return reducedLoss(context, op.neg(op.mul(picked, weight)), weight);
}

export const norms = defineConverters({
  GroupNormalization: groupNormalization,
  RMSNormalization: rmsNormalization,
  LpNormalization: lpNormalization,
  LRN: localResponse,
  MeanVarianceNormalization: meanVariance,
  LayerNormalization: layerNormalization,
  NegativeLogLikelihoodLoss: (context) => [negativeLikelihood(context, context.input(0))],
  SoftmaxCrossEntropyLoss(context) {
    const logp = context.op.emit("LogSoftmax", [context.input(0)], { axis: 1 });
    return [negativeLikelihood(context, logp), logp];
  },
});
