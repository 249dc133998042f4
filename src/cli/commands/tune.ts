/** `ohemgen tune`: the convolutions of a training folder on the kernels that are fastest on this machine. */

import { defineCommand, type Result } from "../command.ts";
import { table } from "../table.ts";
import type { TuneReport } from "../tune-folder.ts";

export const tuneCommand = defineCommand({
  name: "tune",
  summary: "fit training graphs to this machine's CPU",
  argument: { name: "dir", describe: "the training folder" },
  options: { threads: { kind: "integer", describe: "threads of the runtime to measure with", min: 0, preset: "as many as cores" } },
  examples: [["ohemgen tune model.train --threads 2", "measure, and rewrite what is faster"]],
  async run(values, dir, output): Promise<Result> {
    const { tuneFolder } = await import("../tune-folder.ts");
    const report = await tuneFolder(dir, values.threads ?? 0, (text) => output.progress(text));
    return { document: report, text: tuneText(report) };
  },
});

export function tuneText({ block, layers, graphs }: TuneReport): string {
  if (block === null) return "the runtime has no blocked kernels on this machine: nothing changed";
  const after = ({ chosen, before, blocked }: TuneReport["layers"][number]) => (chosen === "blocked" ? (blocked ?? before) : before);
  const rows = layers.map((layer) => [layer.layer, `${layer.count}`, layer.chosen, layer.before.toFixed(2), after(layer).toFixed(2)]);
  const whole = Object.entries(graphs).map(([name, graph]) => [`${name}.onnx`, graph.chosen, graph.before.toFixed(1), graph.after?.toFixed(1) ?? "–"]);
  return `${table([["layer", "times", "chosen", "ms before", "ms after"], ...rows])}\n\n${table([["graph", "chosen", "ms before", "ms after"], ...whole])}`;
}
