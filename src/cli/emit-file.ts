/** Stand-alone graphs: which there are, and how the flags of `emit` describe one. */

import { writeFileAtomically } from "../files/atomic.ts";
import type { Dim } from "../ir/dims.ts";
import type { Model } from "../ir/graph.ts";
import { type LossKind, lossModel } from "../loss/graph.ts";
import { checkForChannels, type ResolvedLossOptions, resolveLossOptions } from "../loss/options.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { bug } from "../support/errors.ts";
import { parseSizes } from "./attach-options.ts";
import type { Values } from "./command.ts";
import type { emitFlags } from "./commands/emit.ts";
import { configOf, merged } from "./config.ts";
import { emitSchema } from "./config-schema.ts";
import { given, lossFromFlags } from "./loss-options.ts";

type EmitValues = Values<typeof emitFlags>;

interface EmitOptions {
  readonly preset?: string;
  readonly loss?: Readonly<Record<string, unknown>>;
  readonly logitsShape?: readonly Dim[];
  readonly labelSize?: "logits" | "full" | readonly [Dim, Dim];
  readonly labelType?: "auto" | LabelType;
}

type LabelType = "uint8" | "int32" | "int64";

const lossKinds: readonly LossKind[] = ["ohem-ce", "lovasz-softmax", "ohem-lovasz"];

export function emitFile(kind: string, values: EmitValues): { nodes: number; bytes: number } {
  const loss = lossKinds.find((name) => name === kind) ?? bug(`no graph ${kind}`);
  const model = lossGraph(loss, emitOptions(values));
  const chunks = encodeModelChunks(model);
  writeFileAtomically(values.out, chunks, { force: values.force ?? false });
  return { nodes: model.graph.nodes.length, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0) };
}

function emitOptions(values: EmitValues): EmitOptions {
  const labelSize = values["label-size"];
  const flags = given({
    preset: values.preset,
    loss: lossFromFlags(values),
    logitsShape: values["logits-shape"] === undefined ? undefined : parseSizes("logits-shape", values["logits-shape"], 4),
    labelSize: labelSize === undefined || labelSize === "logits" || labelSize === "full" ? labelSize : parseSizes("label-size", labelSize, 2),
    labelType: values["label-type"],
  });
  return (values.config === undefined ? flags : merged(configOf(values.config, emitSchema), flags)) as EmitOptions;
}

export function lossGraph(kind: LossKind, { preset, loss, logitsShape = ["N", "C", "H", "W"], labelSize = "logits", labelType = "auto" }: EmitOptions): Model {
  const options = resolveLossOptions(loss, preset);
  const channels = logitsShape[1];
  checkForChannels(options, typeof channels === "number" ? channels : undefined);
  const size = labelSize === "logits" ? undefined : labelSize === "full" ? (["label_height", "label_width"] as const) : labelSize;
  return lossModel(kind, {
    logitsShape,
    ...(size === undefined ? {} : { labelSize: size }),
    labelType: labelType === "auto" ? smallestLabelType(options, channels) : labelType,
    options,
  });
}

/** uint8 if it holds the classes and the ignored label. */
function smallestLabelType({ ignoreIndex }: ResolvedLossOptions, channels: Dim | undefined): LabelType {
  const fits = ignoreIndex >= 0 && ignoreIndex <= 255 && (typeof channels !== "number" || channels <= 256);
  return fits ? "uint8" : "int32";
}
