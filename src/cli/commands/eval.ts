/** `ohemgen eval`: loss, IoU per class and mIoU of a state on a folder. */

import { defineCommand, type Result } from "../command.ts";
import { count, decimals, table } from "../table.ts";

export const evalCommand = defineCommand({
  name: "eval",
  summary: "loss and IoU per class on a folder",
  argument: { name: "dir", describe: "the training folder" },
  options: {
    images: { kind: "text", required: true, describe: "folder of images: PNG, JPEG or WebP" },
    masks: { kind: "text", required: true, describe: "folder of masks, named like the images" },
    out: { kind: "text", short: "o", describe: "folder to write: scores.json and pictures/", preset: "none" },
    force: { kind: "flag", describe: "replace an existing folder" },
    checkpoint: { kind: "text", describe: "checkpoint to evaluate", preset: "the initial state" },
    batch: { kind: "integer", min: 1, describe: "images per run", preset: "the graph's, or 4" },
    "label-map": { kind: "text", describe: "what values or colours of masks mean: cityscapes | voc | FILE.json", preset: "the value is the class" },
    ep: { kind: "text", choices: ["cpu", "cuda", "webgpu"], describe: "what runs the graph", preset: "cpu" },
    threads: { kind: "integer", min: 1, describe: "threads of the runtime", preset: "all cores" },
  },
  examples: [
    ["ohemgen eval model.train --checkpoint run/best.safetensors --images img --masks msk --json", "numbers for a program"],
    ["ohemgen eval model.train --checkpoint run/best.safetensors --images img --masks msk -o seen", "pictures to look at"],
  ],
  async run(values, dir, output): Promise<Result> {
    const { evaluateFolder } = await import("../evaluation.ts");
    const document = await evaluateFolder(dir, { ...values, labelMap: values["label-map"], provider: values.ep }, output);
    const written = values.out === undefined ? "" : `\n\nimage, label and prediction beside each other: ${values.out}/pictures`;
    return { document, text: evaluationTable(document) + written };
  },
});

export interface EvaluationDocument {
  readonly loss: number | null;
  readonly ce: number | null;
  readonly lovasz: number | null;
  readonly miou: number | null;
  readonly pixel_accuracy: number | null;
  readonly classes: readonly { readonly index: number; readonly name: string | null; readonly iou: number | null; readonly pixels: number }[];
  readonly confusion: readonly (readonly number[])[];
}

function evaluationTable({ loss, ce, lovasz, miou, pixel_accuracy, classes }: EvaluationDocument): string {
  const perClass = table([["class", "IoU", "pixels"], ...classes.map(({ index, name, iou, pixels }) => [name ?? `${index}`, decimals(iou), count(pixels)])]);
  const total = table([
    ["mIoU", decimals(miou)],
    ["pixel accuracy", decimals(pixel_accuracy)],
    ["loss", `${decimals(loss)} (cross-entropy ${decimals(ce)}, Lovász ${decimals(lovasz)})`],
  ]);
  return `${perClass}\n\n${total}`;
}
