/** `ohemgen check`: are the gradients of this model right, and does a provider run all of its graphs? */

import type { PlacedNode, Placement } from "../../attach/placement.ts";
import { attachFlags, attachOptions } from "../attach-options.ts";
import { defineCommand, type Result } from "../command.ts";
import type { CheckReport, GroupResult } from "../gradient-check.ts";
import { count, plural, table } from "../table.ts";

const noFlags = Object.fromEntries(Object.keys(attachFlags).map((name) => [name, undefined])) as { [Name in keyof typeof attachFlags]: undefined };

export const checkCommand = defineCommand({
  name: "check",
  summary: "check gradients numerically, or which nodes a provider runs",
  argument: { name: "model", describe: "the ONNX model" },
  options: {
    ep: { kind: "text", choices: ["cuda", "webgpu"], describe: "list nodes of the training graphs that this provider has no kernel for" },
    each: { kind: "flag", describe: "check every tensor on its own" },
    ...attachFlags,
    seed: { kind: "integer", describe: "of picture, directions and --reset-head", min: 0, preset: "0" },
  },
  examples: [
    ["ohemgen check model.onnx", "gradients against differences, a minute or less"],
    ["ohemgen check model.onnx --ep cuda", "what would silently run on the CPU"],
  ],
  async run(values, path, output): Promise<Result> {
    const options = attachOptions({ ...noFlags, ...values });
    const { readModelFile } = await import("../../files/model-file.ts");
    const { inModel } = await import("../in-model.ts");
    const { model } = readModelFile(path);
    if (values.ep !== undefined) {
      const { attach } = await import("../../attach/attach.ts");
      const { placementOf } = await import("../../attach/placement.ts");
      const provider = values.ep;
      // WebGPU has no uint8.
      const labels = provider === "webgpu" && options.labelType === undefined ? { labelType: "int32" as const } : {};
      const { graphs } = inModel(path, () => attach(model, { ...options, ...labels }));
      const placements = Object.fromEntries(Object.entries(graphs).map(([name, graph]) => [name, placementOf(graph, provider)]));
      const bad = Object.values(placements).some(({ outside }) => outside.length > 0);
      return { document: { provider, graphs: placements }, text: placementText(provider, placements), exitCode: bad ? 1 : 0 };
    }
    const { checkGradients } = await import("../gradient-check.ts");
    const progress = (done: number, all: number, group: string) => output.progress(`checking ${group} (${done + 1} of ${all})`);
    const report = await checkGradients(model, options, { seed: values.seed ?? 0, each: values.each ?? false, progress });
    return { document: report, text: checkText(report), exitCode: report.verdict === "wrong" ? 1 : 0 };
  },
});

const verdicts = {
  right: "right: the gradients agree with differences of the model's own values",
  wrong: "WRONG: no step size brings the differences near the gradient, at three points; please report it with the model",
  unclear: "unclear: no plain error, but kinks or rounding keep the differences off; try another --seed or --input-shape",
} as const;

const small = (error: number): string => (Number.isFinite(error) ? error.toExponential(1) : "–");

export function checkText({ verdict, logits, inputs, groups }: CheckReport): string {
  const shown = groups[0]?.along.steps.filter((_, i) => i % 2 === 0).map(({ step }) => step) ?? [];
  const error = ({ along }: GroupResult, step: number) => small(along.steps.find((result) => result.step === step)?.error ?? Number.NaN);
  const rows = groups.map((group) => [
    group.group,
    count(group.tensors),
    group.verdict,
    small(group.along.best),
    small(group.across.best),
    ...shown.map((step) => error(group, step)),
    group.attempts > 1 ? `${group.attempts} points` : "",
  ]);
  return [
    `${verdicts[verdict]}`,
    "",
    table([["group", "tensors", "verdict", "along", "across", ...shown.map((step) => `h=1/${1 / step}`), ""], ...rows]),
    "",
    `Relative errors of the derivative of ${logits}, along the gradient and in a random direction across it; the columns by h, the step`,
    `as a part of the weights, are those along it. Input: ${inputs.map(({ name, dims }) => `${name} ${dims.join("×")}`).join(", ")}. Towards small h rounding adds to`,
    "the error, towards large h curvature and kinks (ReLU, MaxPool) do: the best two neighbours count.",
  ].join("\n");
}

function nodesTable(nodes: readonly PlacedNode[]): string {
  const groups = new Map<string, { node: PlacedNode; names: string[] }>();
  for (const node of nodes) {
    const key = `${node.op}(${node.types.join(", ")})`;
    const group = groups.get(key) ?? { node, names: [] };
    group.names.push(node.node);
    groups.set(key, group);
  }
  const rows = [...groups].map(([key, { node, names }]) => [
    `  ${key}`,
    count(names.length),
    node.reason,
    names.length > 2 ? `${names.slice(0, 2).join(", ")} …` : names.join(", "),
  ]);
  return table([["  node", "count", "why", "names"], ...rows]);
}

export function placementText(provider: string, placements: Readonly<Record<string, Placement>>): string {
  const parts = Object.entries(placements).map(([name, { nodes, outside, small: few, shapes }]) => {
    const rest = [
      few.length > 0 ? `${plural(few.length, "node")} of few numbers` : "",
      shapes.length > 0 ? `${plural(shapes.length, "node")} of shape arithmetic` : "",
    ].filter((text) => text !== "");
    const onCpu = rest.length === 0 ? "" : `; on the CPU side: ${rest.join(" and ")}`;
    const head = `${name}: ${plural(nodes, "node")}, ${outside.length === 0 ? `none outside ${provider}` : `${outside.length} without a kernel on ${provider}`}${onCpu}`;
    return outside.length === 0 ? head : `${head}\n${nodesTable(outside)}`;
  });
  return parts.join("\n");
}
