/** Stand-alone graphs: which there are, and how the flags of `emit` describe one. */

import { writeFileAtomically } from "../files/atomic.ts";
import { dumpInto } from "../files/dump.ts";
import type { Dim } from "../ir/dims.ts";
import type { Model } from "../ir/graph.ts";
import { type LossKind, lossModel } from "../loss/graph.ts";
import { checkForChannels, type ResolvedLossOptions, resolveLossOptions } from "../loss/options.ts";
import type { Provider } from "../ops/provider.ts";
import { updateModel } from "../optim/graph.ts";
import { checkedWeightDecay, defaultWeightDecay, resolveOptimizer } from "../optim/options.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { usageError } from "../support/errors.ts";
import { parseSizes } from "./attach-options.ts";
import type { Values } from "./command.ts";
import type { emitFlags } from "./commands/emit.ts";
import { configOf, merged } from "./config.ts";
import { emitSchema } from "./config-schema.ts";
import { given, lossFromFlags } from "./loss-options.ts";
import { type OptimizerFlags, optimizerSettingsFromFlags } from "./optimizer-options.ts";

type EmitValues = Values<typeof emitFlags>;

/** What a config file may hold; flags lie over it. */
export interface EmitOptions {
  readonly preset?: string;
  readonly loss?: Readonly<Record<string, unknown>>;
  readonly logitsShape?: readonly Dim[];
  readonly labelSize?: "logits" | "full" | readonly [Dim, Dim];
  readonly labelType?: "auto" | LabelType;
  readonly provider?: Provider;
  readonly optimizer?: Omit<OptimizerFlags, "kind">;
  /** Elements of the flat vectors. */
  readonly parameters?: Dim;
}

type LabelType = "uint8" | "int32" | "int64";

export type EmitKind = LossKind | "sgd" | "adamw";

export function emitFile(kind: EmitKind, values: EmitValues, dump?: string): { nodes: number; bytes: number } {
  const observe = dump === undefined ? undefined : dumpInto(dump);
  const model = emitModel(kind, emitOptions(values));
  observe?.(kind, () => model);
  const chunks = encodeModelChunks(model);
  writeFileAtomically(values.out, chunks, { force: values.force ?? false });
  return { nodes: model.graph.nodes.length, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0) };
}

/** @throws OhemgenError (exit code 2) for options of the other kind of graph, or that do not fit together. */
export function emitModel(kind: EmitKind, options: EmitOptions): Model {
  const isOptimizer = kind === "sgd" || kind === "adamw";
  const foreign = isOptimizer ? (["preset", "loss", "logitsShape", "labelSize", "labelType", "provider"] as const) : (["optimizer", "parameters"] as const);
  const wrong = foreign.find((name) => options[name] !== undefined);
  if (wrong !== undefined)
    throw usageError(`${wrong}: not an option of the graph ${kind}`, `It belongs to ${isOptimizer ? "the losses" : "sgd and adamw"}; leave it out.`);
  return isOptimizer ? optimizerGraph(kind, options) : lossGraph(kind, options);
}

function emitOptions(values: EmitValues): EmitOptions {
  const labelSize = values["label-size"];
  const flags = given({
    preset: values.preset,
    loss: lossFromFlags(values),
    logitsShape: values["logits-shape"] === undefined ? undefined : parseSizes("logits-shape", values["logits-shape"], 4),
    labelSize: labelSize === undefined || labelSize === "logits" || labelSize === "full" ? labelSize : parseSizes("label-size", labelSize, 2),
    labelType: values["label-type"],
    provider: values.for,
    optimizer: optimizerSettingsFromFlags(values),
    parameters: values.parameters === undefined ? undefined : parseSizes("parameters", values.parameters, 1)[0],
  });
  return (values.config === undefined ? flags : merged(configOf(values.config, emitSchema), flags)) as EmitOptions;
}

function optimizerGraph(kind: "sgd" | "adamw", { optimizer = {}, parameters = "P" }: EmitOptions): Model {
  const { weightDecay = defaultWeightDecay(kind), ...settings } = optimizer;
  if (typeof parameters === "number" && parameters < 1) throw usageError(`parameters is ${parameters}; it must be at least 1`);
  return updateModel(kind, resolveOptimizer({ kind, ...settings }), [{ learningRateFactor: 1, weightDecay: checkedWeightDecay(weightDecay) }], parameters);
}

function lossGraph(
  kind: LossKind,
  { preset, loss, logitsShape = ["N", "C", "H", "W"], labelSize = "logits", labelType = "auto", provider = "any" }: EmitOptions,
): Model {
  const options = resolveLossOptions(loss, preset);
  const channels = logitsShape[1];
  checkForChannels(options, typeof channels === "number" ? channels : undefined);
  const size = labelSize === "logits" ? undefined : labelSize === "full" ? (["label_height", "label_width"] as const) : labelSize;
  return lossModel(kind, {
    logitsShape,
    ...(size === undefined ? {} : { labelSize: size }),
    labelType: labelType === "auto" ? smallestLabelType(options, channels, provider) : labelType,
    options,
    provider,
  });
}

/** uint8 if it holds the classes and the ignored label; the WebGPU provider has no type of 8 bits. */
function smallestLabelType({ ignoreIndex }: ResolvedLossOptions, channels: Dim | undefined, provider: Provider): LabelType {
  if (provider === "webgpu") return "int32";
  const fits = ignoreIndex >= 0 && ignoreIndex <= 255 && (typeof channels !== "number" || channels <= 256);
  return fits ? "uint8" : "int32";
}
