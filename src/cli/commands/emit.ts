/** `ohemgen emit`: a stand-alone loss graph. */

import { defineCommand, type OptionSpecs, type Result } from "../command.ts";
import { lossFlags } from "../loss-options.ts";
import { count } from "../table.ts";

export const emitFlags = {
  out: { kind: "text", short: "o", required: true, describe: "file to write" },
  force: { kind: "flag", describe: "replace an existing file" },
  "logits-shape": { kind: "text", describe: "N,C,h,w: sizes, or names of dynamic ones", preset: "N,C,H,W" },
  "label-size": { kind: "text", describe: "logits | full (any size) | H,W", preset: "logits" },
  "label-type": { kind: "text", choices: ["auto", "uint8", "int32", "int64"], describe: "type of the labels", preset: "auto" },
  ...lossFlags,
  config: { kind: "text", describe: "JSON file with `loss`, `preset`, `logitsShape`, `labelSize`, `labelType`; flags win" },
} as const satisfies OptionSpecs;

export const emitCommand = defineCommand({
  name: "emit",
  summary: "write a stand-alone loss graph",
  argument: { name: "kind", describe: "ohem-ce | lovasz-softmax | ohem-lovasz", choices: ["ohem-ce", "lovasz-softmax", "ohem-lovasz"] },
  options: emitFlags,
  examples: [["ohemgen emit ohem-lovasz --logits-shape N,19,H,W -o loss.onnx", "19 classes, any size"]],
  async run(values, kind): Promise<Result> {
    const { emitFile } = await import("../emit-file.ts");
    const { nodes, bytes } = emitFile(kind, values);
    return { document: { file: values.out, nodes, bytes }, text: `${values.out}: ${count(nodes)} nodes, ${count(bytes)} bytes` };
  },
});
