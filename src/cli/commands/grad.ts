/** `ohemgen grad`: the gradient of any tensor of a model as a graph. */

import { defineCommand, type Result } from "../command.ts";
import { count } from "../table.ts";

export const gradCommand = defineCommand({
  name: "grad",
  summary: "write the gradient of a model as a graph",
  argument: { name: "model", describe: "the ONNX model" },
  options: {
    of: { kind: "text", required: true, describe: "tensor that is differentiated" },
    wrt: { kind: "list", required: true, describe: "inputs, weights or inner tensors it is differentiated by" },
    out: { kind: "text", short: "o", required: true, describe: "file to write" },
    force: { kind: "flag", describe: "replace an existing file" },
    "input-shape": { kind: "list", describe: "sizes of an input: NAME=2,3,512,1024; a name keeps a size dynamic" },
  },
  examples: [
    ["ohemgen grad model.onnx --of loss --wrt image -o grad.onnx", "how the loss changes with the picture"],
    ["ohemgen grad model.onnx --of logits --wrt head.weight --wrt head.bias -o grad.onnx", "two weights"],
  ],
  builds: true,
  async run(values, path, { dump }): Promise<Result> {
    const { gradientFile } = await import("../gradient-file.ts");
    const { nodes, bytes, of, wrt } = gradientFile(path, { ...values, dump });
    const zeros = wrt.filter(({ zero }) => zero).map(({ name }) => name);
    const lines = [`${values.out}: ${count(nodes)} nodes, ${count(bytes)} bytes`];
    if (zeros.length > 0) lines.push(`always 0, because they do not reach ${of.name}: ${zeros.join(", ")}`);
    return { document: { file: values.out, nodes, bytes, of, wrt }, text: lines.join("\n") };
  },
});
