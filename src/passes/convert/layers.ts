/** Layers whose form depends on what is trained or on sizes: normalization, padding made explicit, newer operators. */

import type { Dim } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf } from "../../ops/builder.ts";
import { plainAttributes } from "../../ops/define.ts";
import { OhemgenError } from "../../support/errors.ts";
import { perChannel } from "./norms.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/**
 * Frozen statistics right behind a convolution: y = (w·s) ∗ x + (b - mean)·s + bias with s = scale/√(var + ε). The
 * arithmetic in weight space costs less than a pass over the activations, and gradients reach w, b, scale and bias.
 */
function foldedIntoConvolution({ op, node, x, input, float, readers }: ConvertContext): Value | undefined {
  const convolution = op.draft.producer(input(0));
  const [scale, bias, mean, variance] = [input(1), input(2), input(3), input(4)];
  if (convolution?.op !== "Conv" || convolution.domain !== "" || readers(node.inputs[0]) !== 1 || x.length < 5) return undefined;
  const [image, weight, convBias] = convolution.inputs as [Value, Value, Value | undefined];
  const factor = op.div(scale, op.sqrt(op.add(variance, float("epsilon", 1e-5))));
  const rank = dimsOf(weight).length;
  const folded = op.mul(
    weight,
    op.unsqueeze(
      factor,
      Array.from({ length: rank - 1 }, (_, i) => i + 1),
    ),
  );
  const centered = convBias === undefined ? op.neg(mean) : op.sub(convBias, mean);
  const attributes = Object.fromEntries(Object.entries(convolution.attributes).map(([name, attribute]) => [name, attribute.value]));
  return op.emit("Conv", [image, folded, op.add(op.mul(centered, factor), bias)], attributes, {
    names: { node: convolution.name, outputs: node.outputs.map((value) => value?.name ?? "") },
  });
}

interface BatchStatistics {
  readonly y: Value;
  readonly mean: Value;
  /** Biased. */
  readonly variance: Value;
}

/** Statistics of the batch, over all axes but the channel: y = (x - mean)/√(var + ε)·scale + bias. */
function batchStatistics({ op, input, float }: ConvertContext): BatchStatistics {
  const x = input(0);
  const rank = dimsOf(x).length;
  const rows = batchAxes(rank);
  const mean = op.reduceMean(x, rows, true);
  const centered = op.sub(x, mean);
  const variance = op.reduceMean(op.mul(centered, centered), rows, true);
  const inv = op.reciprocal(op.sqrt(op.add(variance, float("epsilon", 1e-5))));
  const scaled = op.mul(op.mul(centered, inv), perChannel(op, input(1), rank));
  return { y: op.add(scaled, perChannel(op, input(2), rank)), mean, variance };
}

const batchAxes = (rank: number) => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];

/** momentum·old + (1 - momentum)·new */
function blended({ op, float }: ConvertContext, old: Value, next: Value): Value {
  const momentum = float("momentum", 0.9);
  return op.add(op.mul(old, momentum), op.mul(op.reshapeLike(next, old), 1 - momentum));
}

/** Running statistics as PyTorch keeps them: the variance unbiased. */
function updateStatistics(context: ConvertContext, { mean, variance }: BatchStatistics): void {
  const { op, node, input, updateStatistic } = context;
  const x = input(0);
  const sizes = batchAxes(dimsOf(x).length).map((axis) => op.squeeze(op.dim(x, axis), [0]));
  const count = op.cast(
    sizes.reduce((a, b) => op.mul(a, b)),
    "float32",
  );
  const unbiased = op.mul(variance, op.div(count, op.max(op.sub(count, 1), 1)));
  if (node.inputs[3] !== undefined) updateStatistic(node.inputs[3], blended(context, input(3), mean));
  if (node.inputs[4] !== undefined) updateStatistic(node.inputs[4], blended(context, input(4), unbiased));
}

/** Whether the file has the node in training mode; before opset 14 its further outputs say so. */
function inTraining({ node, int, version }: ConvertContext): boolean {
  return version >= 14 ? int("training_mode", 0) !== 0 : node.outputs[1] !== undefined;
}

const batchNormalization: Converter = (context) => {
  const { op, x, float, batchNorm, input } = context;
  if (batchNorm === "batch") {
    const statistics = batchStatistics(context);
    updateStatistics(context, statistics);
    return [statistics.y];
  }
  if (batchNorm === "file" && inTraining(context)) {
    const { y, mean, variance } = batchStatistics(context);
    return [y, blended(context, input(3), mean), blended(context, input(4), variance)];
  }
  const folded = foldedIntoConvolution(context);
  if (folded !== undefined) return [folded];
  return [op.emit("BatchNormalization", [input(0), ...x.slice(1, 5)], { epsilon: float("epsilon", 1e-5) }, { names: namesOf(context) })];
};

function namesOf({ node }: ConvertContext) {
  return { node: node.name, outputs: node.outputs.map((value) => value?.name ?? "") };
}

/** Pads that `auto_pad` means, per spatial axis: total = (⌈size/s⌉ - 1)·s + extent - size. */
function samePads(size: Dim, stride: number, extent: number): number | undefined {
  if (stride === 1) return Math.max(0, extent - 1);
  if (typeof size !== "number") return undefined;
  return Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size);
}

/**
 * Pads of a node, with those that `auto_pad` means.
 * @throws OhemgenError E131 where they depend on a dynamic size
 */
export function impliedPads({ node, x, input, ints, string }: ConvertContext): readonly number[] | undefined {
  const autoPad = string("auto_pad", "NOTSET");
  if (autoPad === "NOTSET" || autoPad === "") return ints("pads");
  if (autoPad === "VALID") return undefined;
  const kernel = ints("kernel_shape") ?? (x[1]?.shape?.slice(2) as readonly number[] | undefined) ?? [];
  const totals = dimsOf(input(0))
    .slice(2)
    .map((size, i) => {
      const total = samePads(size, ints("strides")?.[i] ?? 1, ((kernel[i] ?? 1) - 1) * (ints("dilations")?.[i] ?? 1) + 1);
      if (total !== undefined) return total;
      throw new OhemgenError(`${node.op} with auto_pad ${autoPad}, a stride and a dynamic size: its padding depends on the picture`, {
        code: "E131",
        where: node.name,
        hint: "Fix the size with --input-shape.",
      });
    });
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  return autoPad === "SAME_LOWER" ? [...more, ...less] : [...less, ...more];
}

export const explicitPads: Converter = (context) => {
  const attrs = plainAttributes(context.node.attributes);
  if (attrs["auto_pad"] === undefined) return context.same({ attrs });
  return context.same({ attrs: { ...attrs, auto_pad: undefined, pads: impliedPads(context) } });
};

/** `output_shape` and `auto_pad` of a transposed convolution become pads: total = s·(size - 1) + padding + extent - output. */
const transposedPads: Converter = ({ node, x, input, ints, string, same }) => {
  const autoPad = string("auto_pad", "NOTSET");
  const given = ints("output_shape");
  const { auto_pad: _, output_shape: __, ...attrs } = plainAttributes(node.attributes);
  if (given === undefined && !autoPad.startsWith("SAME")) return same({ attrs: autoPad === "VALID" ? { ...attrs, pads: undefined } : attrs });
  const spatial = dimsOf(input(0)).slice(2);
  const kernel = ints("kernel_shape") ?? (x[1]?.shape?.slice(2) as readonly number[] | undefined) ?? [];
  const sizes = given?.slice(-spatial.length);
  const totals = spatial.map((size, i) => {
    const stride = ints("strides")?.[i] ?? 1;
    const extent = ((kernel[i] ?? 1) - 1) * (ints("dilations")?.[i] ?? 1) + 1;
    const extra = ints("output_padding")?.[i] ?? 0;
    // Without output_shape the output is size·stride, whatever the size.
    if (sizes === undefined) return extra + extent - stride;
    if (typeof size === "number") return stride * (size - 1) + extra + extent - (sizes[i] as number);
    throw new OhemgenError("ConvTranspose with output_shape and a dynamic size", { code: "E131", where: node.name, hint: "Fix the size with --input-shape." });
  });
  // A size beyond what the kernel reaches is zeros behind it, which output_padding makes.
  const beyond = totals.map((total) => Math.max(0, -total));
  const padding = beyond.map((extra, i) => extra + (ints("output_padding")?.[i] ?? 0));
  if (beyond.some((extra) => extra > 0)) attrs["output_padding"] = padding;
  const half = totals.map((total) => Math.floor(Math.max(0, total) / 2));
  const rest = totals.map((total, i) => Math.max(0, total) - (half[i] as number));
  return same({ attrs: { ...attrs, pads: autoPad === "SAME_UPPER" ? [...half, ...rest] : [...rest, ...half] } });
};

export const layers = defineConverters({
  BatchNormalization: batchNormalization,
  Conv: explicitPads,
  MaxPool: explicitPads,
  ConvTranspose: transposedPads,
});
