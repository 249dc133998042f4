/** `ohemgen emit`: a loss or an optimizer as a graph of its own. */

import { providers } from "../../ops/provider.ts";
import { defineCommand, type OptionSpecs, type Result } from "../command.ts";
import type { EmitKind } from "../emit-file.ts";
import { lossFlags } from "../loss-options.ts";
import { optimizerFlags } from "../optimizer-options.ts";
import { count } from "../table.ts";

const kinds: readonly EmitKind[] = ["ohem-ce", "lovasz-softmax", "ohem-lovasz", "sgd", "adamw"];

export const emitFlags = {
  out: { kind: "text", short: "o", required: true, describe: "file to write" },
  force: { kind: "flag", describe: "replace an existing file" },
  "logits-shape": { kind: "text", describe: "losses: N,C,h,w: sizes, or names of dynamic ones", preset: "N,C,H,W" },
  "label-size": { kind: "text", describe: "losses: logits | full (any size) | H,W", preset: "logits" },
  "label-type": { kind: "text", choices: ["auto", "uint8", "int32", "int64"], describe: "losses: type of the labels", preset: "auto" },
  for: { kind: "text", choices: providers, describe: "losses: execution provider that operators are chosen for", preset: "any" },
  parameters: { kind: "text", describe: "sgd, adamw: length of the flat vectors, or a name for any", preset: "P" },
  ...lossFlags,
  ...optimizerFlags,
  config: {
    kind: "text",
    describe: "JSON file with `loss`, `preset`, `logitsShape`, `labelSize`, `labelType`, `provider`, or `optimizer`, `parameters`; flags win",
  },
} as const satisfies OptionSpecs;

export const emitCommand = defineCommand({
  name: "emit",
  summary: "write a loss or an optimizer as a graph of its own",
  argument: { name: "kind", describe: kinds.join(" | "), choices: kinds },
  options: emitFlags,
  examples: [
    ["ohemgen emit ohem-lovasz --logits-shape N,19,H,W -o loss.onnx", "19 classes, any size"],
    ["ohemgen emit adamw --weight-decay 0.05 -o adamw.onnx", "vectors of any length"],
  ],
  builds: true,
  async run(values, kind, { dump }): Promise<Result> {
    const { emitFile } = await import("../emit-file.ts");
    const { nodes, bytes } = emitFile(kind as EmitKind, values, dump);
    return { document: { file: values.out, nodes, bytes }, text: `${values.out}: ${count(nodes)} nodes, ${count(bytes)} bytes` };
  },
});
