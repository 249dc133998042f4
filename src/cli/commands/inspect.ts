/** `ohemgen inspect`: what a model is made of and what `attach` would make of it; changes nothing. */

import type { Inspection } from "../../attach/inspect.ts";
import { attachFlags, attachOptions } from "../attach-options.ts";
import { defineCommand, type Result } from "../command.ts";
import { count, plural, table } from "../table.ts";

const { logits, aux, train, freeze, untie, bn, optimizer, ema, config } = attachFlags;

export const inspectCommand = defineCommand({
  name: "inspect",
  summary: "show logits, weights, operators and memory of a model",
  argument: { name: "model", describe: "the ONNX model" },
  options: { logits, aux, "input-shape": attachFlags["input-shape"], train, freeze, untie, bn, optimizer, ema, config },
  examples: [
    ["ohemgen inspect model.onnx", "what attach would train, and what stands in the way"],
    ["ohemgen inspect model.onnx --input-shape image=2,3,512,1024", "memory of a step with these pictures"],
  ],
  async run(values, path): Promise<Result> {
    const options = attachOptions({ ...empty, ...values });
    const { readModelFile } = await import("../../files/model-file.ts");
    const { inspect } = await import("../../attach/inspect.ts");
    const { bytes, model } = readModelFile(path);
    const report = inspect(model, options);
    return { document: { model: path, bytes: bytes.length, ...report }, text: describe(report, bytes.length) };
  },
});

const empty = Object.fromEntries(Object.keys(attachFlags).map((name) => [name, undefined])) as { [Name in keyof typeof attachFlags]: undefined };

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
const typed = ({ name, type, shape }: Inspection["inputs"][number]): string => `${name} ${type}[${shape?.map(dimText).join(",") ?? "?"}]`;
const dimText = (dim: number | string): string => (typeof dim === "string" && dim.startsWith("?") ? "?" : String(dim));

/** `items` in one cell, cut where there are too many. */
function some(items: readonly string[], most = 6): string {
  return items.length <= most ? items.join(", ") : `${items.slice(0, most).join(", ")} and ${items.length - most} more`;
}

function grouped(items: readonly { readonly numbers: number; readonly key: string }[], noun: string): readonly string[][] {
  const groups = new Map<string, { tensors: number; numbers: number }>();
  for (const { key, numbers } of items) {
    const group = groups.get(key) ?? { tensors: 0, numbers: 0 };
    groups.set(key, { tensors: group.tensors + 1, numbers: group.numbers + numbers });
  }
  const rows = [...groups].sort((a, b) => b[1].numbers - a[1].numbers).map(([key, { tensors, numbers }]) => [`  ${key}`, count(tensors), count(numbers)]);
  return rows.length === 0 ? [] : [[noun, "tensors", "numbers"], ...rows];
}

function logitsText({ name, output, behind, classes }: Inspection["logits"][number]): string {
  const where = behind.length === 0 ? (name === output ? "an output" : `behind ${output}`) : `behind ${output}: ${behind.join(" ← ")}`;
  return `${name}, ${classes === null ? "number of classes unknown" : plural(classes, "channel")} (${where})`;
}

function stepText(step: NonNullable<Inspection["step"]>): readonly string[][] {
  const sizes = Object.entries(step.inputShapes).map(([name, shape]) => `${name}=${shape.join(",")}`);
  return [
    ["step", `${plural(step.nodes, "node")} with ${sizes.join(" ")}${step.assumed ? " (assumed; give --input-shape)" : ""}`],
    [
      "memory",
      `state ${megabytes(step.state)} in and out, batch ${megabytes(step.batch)}, activations and gradients ${megabytes(step.peak)}; buffers inside the runtime come on top`,
    ],
  ];
}

export function describe(report: Inspection, bytes: number): string {
  const { file, trained, frozen } = report;
  const head = table([
    [
      "file",
      `${megabytes(bytes)}, IR ${file.irVersion}, opset ${file.opset ?? "none"}${file.producer === "" ? "" : `, ${file.producer}`}, ${plural(file.nodes, "node")}`,
    ],
    ["inputs", report.inputs.map(typed).join(", ")],
    ["outputs", report.outputs.map(typed).join(", ")],
    ...(report.logits.length === 0 ? [["logits", "none found"]] : report.logits.map((logits) => ["logits", logitsText(logits)])),
    ...(report.runningStatistics.length === 0 ? [] : [["statistics", plural(report.runningStatistics.length, "running statistic")]]),
    ...(report.step === null ? [] : stepText(report.step)),
  ]);
  const parts = [head];
  const add = (rows: readonly (readonly string[])[]) => rows.length > 0 && parts.push(table(rows));
  add(
    grouped(
      trained.map(({ role, numbers }) => ({ key: role, numbers })),
      "trained",
    ),
  );
  add(
    grouped(
      frozen.map(({ reason, numbers }) => ({ key: reason, numbers })),
      "frozen",
    ),
  );
  if (report.shared.length > 0) {
    const rows = report.shared.slice(0, 12).map(({ name, readers }) => [`  ${name}`, some(readers, 4)]);
    const more = report.shared.length > 12 ? `\n  and ${report.shared.length - 12} more` : "";
    parts.push(
      `${table([["shared", "read by"], ...rows])}${more}\n  Exporters merge tensors of equal value: what was separate is trained as one. --untie NAME separates it.`,
    );
  }
  add([["operator", "nodes", "gradient"], ...report.operators.map(({ op, nodes, state }) => [`  ${op}`, count(nodes), state])]);
  if (report.missing.length > 0) add([["no gradient", "node", "output"], ...report.missing.map(({ op, node, output }) => [`  ${op}`, node, output])]);
  if (report.problems.length > 0) {
    parts.push(
      [
        "problems",
        ...report.problems.map(({ code, message, hint }) => `  ${message.trimEnd().replace(/\n/g, "\n  ")}  [${code}]${hint === null ? "" : `\n    ${hint}`}`),
      ].join("\n"),
    );
  }
  return parts.join("\n\n");
}
