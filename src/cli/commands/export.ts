/** `ohemgen export`: trained numbers back into the original file, or as safetensors under their own names. */

import { defineCommand, type Result } from "../command.ts";
import { plural } from "../table.ts";

export const exportCommand = defineCommand({
  name: "export",
  summary: "put trained weights back into the original model",
  argument: { name: "dir", describe: "the training folder" },
  options: {
    out: { kind: "text", short: "o", required: true, describe: "file to write: .onnx, or .safetensors for the weights alone" },
    checkpoint: { kind: "text", describe: "checkpoint to export", preset: "the initial state" },
    ema: { kind: "flag", describe: "the moving average of the weights (attach --ema)" },
    model: { kind: "text", describe: "the original model", preset: "where the manifest says" },
    "external-data": { kind: "flag", describe: "large tensors of the model in a file of their own, NAME.onnx.data", preset: "from 1.5 GB on" },
    force: { kind: "flag", describe: "replace an existing file" },
  },
  examples: [
    ["ohemgen export model.train --checkpoint run/best.safetensors -o better.onnx", "the trained model"],
    ["ohemgen export model.train -o weights.safetensors", "weights under their own names"],
  ],
  async run(values, dir): Promise<Result> {
    const { exportFile } = await import("../export-file.ts");
    const { files, tensors, added } = exportFile(dir, { ...values, force: values.force ?? false, externalData: values["external-data"] });
    const more = added.length === 0 ? "" : `\n${plural(added.length, "initializer")} added to the model: ${added.join(", ")}`;
    return { document: { files, tensors, added }, text: `${plural(tensors, "tensor")} written to ${files.join(", ")}${more}` };
  },
});
