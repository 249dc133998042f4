/** `ohemgen attach`: a model file in, a folder of training graphs out; or what that folder would be. */

import type { Manifest, OrtTrainingInfo } from "../../attach/manifest.ts";
import { attachFlags, attachOptions } from "../attach-options.ts";
import { defineCommand, type Result } from "../command.ts";
import { count, percent, plural, table } from "../table.ts";

export const attachCommand = defineCommand({
  name: "attach",
  summary: "write training graphs for a model",
  argument: { name: "model", describe: "the ONNX model" },
  options: {
    out: { kind: "text", short: "o", describe: "folder to write", preset: "MODEL.train beside the model" },
    force: { kind: "flag", describe: "replace an existing folder" },
    "dry-run": { kind: "flag", describe: "say what would be done, write nothing" },
    ...attachFlags,
  },
  examples: [
    ["ohemgen attach model.onnx", "train everything, loss at the logits found"],
    ["ohemgen attach model.onnx --freeze 'encoder.*' --optimizer adamw", "train the decoder only"],
    ["ohemgen attach model.onnx --reset-head 5 --train 'classifier.*'", "a new last layer for 5 classes of your own, trained alone"],
    ["ohemgen attach model.onnx --logits out --aux aux=0.4", "two heads"],
  ],
  builds: true,
  async run(values, path, { dump }): Promise<Result> {
    const options = attachOptions(values);
    const { attachFile } = await import("../attach-file.ts");
    const dryRun = values["dry-run"] ?? false;
    const { dir, manifest } = attachFile(path, { out: values.out, force: values.force ?? false, dryRun, options, dump });
    return { document: { dir, dryRun, manifest }, text: describeAttach(manifest, dir, dryRun) };
  },
});

export function describeAttach(manifest: Manifest, dir: string, dryRun: boolean): string {
  const { heads, parameters, groups, frozen, runningStatistics, resetHead, untied } = manifest;
  const trained = parameters.reduce((sum, { length }) => sum + length, 0);
  const rest = frozen.reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0);
  const rows = [
    ...heads.map(({ name, logits, classes, weight }) => [
      name === "" ? "logits" : `head ${name}`,
      `${logits}, ${classes === 1 ? "1 class" : `${classes} classes`}${weight === 1 ? "" : `, weight ${weight}`}`,
    ]),
    ["trained", `${plural(parameters.length, "tensor")}, ${plural(trained, "number")}${rest === 0 ? "" : ` (${percent(trained / (trained + rest))})`}`],
    ["frozen", frozen.length === 0 ? "none" : frozenText(frozen)],
    ["groups", groups.map(({ length, learningRateFactor, weightDecay }) => `${count(length)} (rate × ${learningRateFactor}, decay ${weightDecay})`).join("; ")],
    ...(resetHead === null ? [] : [["reset", `${resetHead.tensors.map(({ name, shape }) => `${name} [${shape}]`).join(", ")}`]]),
    ...(untied === null || untied.tensors.length === 0 ? [] : [["untied", untiedText(untied.tensors)]]),
    ...(runningStatistics.length === 0 ? [] : [["statistics", plural(runningStatistics.length, "tensor")]]),
    [dryRun ? "would write" : "written", `${dir}/ (${filesOf(manifest).join(", ")})`],
  ];
  return table(rows);
}

/** What `export` will add is said where it is decided. */
function untiedText(tensors: NonNullable<Manifest["untied"]>["tensors"]): string {
  const sources = new Set(tensors.map(({ of }) => of));
  return `${plural(sources.size, "tensor")}; export adds ${tensors.map(({ name }) => name).join(", ")}`;
}

function filesOf({ graphs, ortTraining, requiredOperators }: Manifest): readonly string[] {
  const stock = graphs === null ? [] : [...Object.values(graphs).map(({ file }) => file), "state.safetensors"];
  return [...stock, ...(ortTraining === null ? [] : ortFiles(ortTraining)), ...(requiredOperators === null ? [] : [requiredOperators]), "manifest.json"];
}

const ortFiles = ({ trainingModel, evalModel, optimizerModel, checkpoint }: OrtTrainingInfo) => [trainingModel, evalModel, optimizerModel, checkpoint];

function frozenText(frozen: Manifest["frozen"]): string {
  const byReason = new Map<string, number>();
  for (const { reason } of frozen) byReason.set(reason, (byReason.get(reason) ?? 0) + 1);
  return `${plural(frozen.length, "tensor")}: ${[...byReason].map(([reason, number]) => `${number} ${reason}`).join("; ")}`;
}
