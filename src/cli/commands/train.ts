/** `ohemgen train`: trains with the graphs of a folder, or with a model, on a folder of pictures and masks. */

import { usageError } from "../../support/errors.ts";
import { scheduleNames } from "../../train/schedule.ts";
import { attachFlags, attachOptions } from "../attach-options.ts";
import { defineCommand, type OptionSpecs, type Result } from "../command.ts";
import type { StopSignal } from "../signals.ts";
import { decimals, percent, table } from "../table.ts";
import type { RunRequest, RunSummary } from "../training-run.ts";

const data = "Data";
const length = "Length and learning rate";
const augmentation = "Augmentation";

/** Options of `attach` that a model given here takes; under headings of their own in the help. */
const modelFlags = Object.fromEntries(
  Object.entries(attachFlags as OptionSpecs).map(([name, spec]) => [name, { ...spec, group: `With a model: ${(spec.group ?? "form").toLowerCase()}` }]),
) as unknown as typeof attachFlags;

export const trainCommand = defineCommand({
  name: "train",
  summary: "train on a folder of images and masks",
  argument: { name: "source", describe: "the training folder that `ohemgen attach` wrote, or a model" },
  options: {
    ...modelFlags,
    images: { kind: "text", group: data, required: true, describe: "folder of images: PNG, JPEG or WebP" },
    masks: { kind: "text", group: data, required: true, describe: "folder of masks: PNG whose value is the class, named like the image" },
    "val-images": { kind: "text", group: data, describe: "images to validate on" },
    "val-masks": { kind: "text", group: data, describe: "masks to validate on" },
    "label-map": {
      kind: "text",
      group: data,
      describe: "what values or colours of masks mean: cityscapes | voc | FILE.json",
      preset: "the value is the class",
    },
    out: { kind: "text", short: "o", describe: "run folder to write", preset: "SOURCE's name with .run" },
    resume: { kind: "flag", describe: "go on with the run in the folder, or begin it" },
    steps: { kind: "integer", group: length, min: 1, describe: "updates", preset: "1000" },
    epochs: { kind: "number", group: length, min: 0.001, describe: "the same in passes over the images" },
    batch: { kind: "integer", group: length, min: 1, describe: "images per run of the graph", preset: "the graph's, or 8" },
    accumulate: { kind: "integer", group: length, min: 1, describe: "runs per update, their gradients averaged", preset: "1" },
    crop: { kind: "numbers", group: length, min: 1, describe: "H,W of the crops, for graphs of dynamic size", preset: "the first image's size" },
    lr: { kind: "number", group: length, min: 0, describe: "learning rate after warm-up", preset: "0.01, AdamW 0.0003" },
    schedule: { kind: "text", group: length, choices: scheduleNames, describe: "how the learning rate falls", preset: "poly" },
    warmup: { kind: "integer", group: length, min: 0, describe: "steps in which the learning rate rises", preset: "a twentieth" },
    "val-every": { kind: "integer", group: length, min: 1, describe: "steps between validations", preset: "a tenth" },
    "save-every": { kind: "integer", group: length, min: 1, describe: "steps between checkpoints", preset: "as validations, at most 200" },
    patience: { kind: "integer", group: length, min: 1, describe: "stop after so many validations without a better mIoU" },
    scale: { kind: "numbers", group: augmentation, min: 0.05, max: 20, describe: "limits of the random scale", preset: "0.5,2" },
    flip: { kind: "flag", group: augmentation, describe: "mirror every other sample; --no-flip", preset: "on" },
    color: { kind: "number", group: augmentation, min: 0, max: 1, describe: "strength of brightness, contrast and saturation jitter", preset: "0.2" },
    augment: { kind: "flag", group: augmentation, describe: "--no-augment: none of these", preset: "on" },
    seed: { kind: "integer", min: 0, describe: "of order and augmentation", preset: "0" },
    ep: { kind: "text", choices: ["cpu", "cuda", "webgpu"], describe: "what runs the graphs", preset: "cpu" },
    threads: { kind: "integer", min: 1, describe: "threads of the runtime", preset: "all cores" },
  },
  examples: [
    ["ohemgen train model.train --images img --masks msk --val-images vimg --val-masks vmsk --steps 500 -o run", "train and validate"],
    ["ohemgen train model.train --images img --masks msk -o run --resume", "go on after an interruption"],
    ["ohemgen train model.onnx --images img --masks msk --label-map cityscapes --optimizer adamw", "straight from a model"],
  ],
  builds: true,
  async run(values, source, output): Promise<Result> {
    const [images, masks] = [values["val-images"], values["val-masks"]];
    if ((images === undefined) !== (masks === undefined)) throw usageError("--val-images and --val-masks belong together", "Give both or none.");
    if (values.steps !== undefined && values.epochs !== undefined) throw usageError("--steps and --epochs exclude each other", "Give one of them.");
    const request: RunRequest = {
      source,
      attach: attachOptions(values),
      run: values.out ?? defaultRunFolder(source),
      resume: values.resume ?? false,
      dump: output.dump,
      images: values.images,
      masks: values.masks,
      validation: images === undefined || masks === undefined ? undefined : { images, masks },
      labelMap: values["label-map"],
      settings: {
        steps: values.steps,
        epochs: values.epochs,
        batch: values.batch,
        accumulate: values.accumulate,
        crop: pairOf("crop", values.crop, Number.isSafeInteger),
        rate: values.lr,
        schedule: values.schedule,
        warmup: values.warmup,
        validateEvery: values["val-every"],
        saveEvery: values["save-every"],
        patience: values.patience,
        scale: orderedPair("scale", values.scale),
        flip: values.flip,
        color: values.color,
        augment: values.augment,
        seed: values.seed,
      },
      provider: values.ep,
      threads: values.threads,
    };
    const { runTraining } = await import("../training-run.ts");
    const { exitCodeOf } = await import("../signals.ts");
    const summary = await runTraining(request, output);
    return { document: summary, text: summaryTable(summary), exitCode: summary.signal === null ? 0 : exitCodeOf(summary.signal) };
  },
});

function defaultRunFolder(source: string): string {
  return `${source.replace(/[\\/]+$/, "").replace(/\.(train|onnx)$/, "")}.run`;
}

const endings: Readonly<Record<RunSummary["reason"], (signal: StopSignal | null) => string>> = {
  done: () => "",
  patience: () => ", ended early: no better mIoU",
  interrupted: (signal) => `, ended by ${signal}; --resume goes on`,
};

function summaryTable({ steps, skipped, skipped_images, best, validation, waited, files, reason, signal }: RunSummary): string {
  return table([
    ["steps", `${steps}${skipped === 0 ? "" : `, ${skipped} of them not finite and skipped`}${endings[reason](signal)}`],
    ...(skipped_images === 0 ? [] : [["left out", `${skipped_images} samples whose files could not be used`]]),
    ...(best === null ? [] : [["best mIoU", `${decimals(best.miou)} at step ${best.step}`]]),
    ...(validation === null ? [] : [["last mIoU", decimals(validation.miou)]]),
    ["waited", `${percent(waited)} of the steps' time for pictures`],
    ["written", files.join(", ")],
  ]);
}

function pairOf(name: string, numbers: readonly number[] | undefined, accepts: (value: number) => boolean = () => true): readonly [number, number] | undefined {
  if (numbers === undefined) return undefined;
  const [first, second] = numbers;
  if (numbers.length !== 2 || first === undefined || second === undefined || !numbers.every(accepts)) {
    throw usageError(`--${name} cannot be "${numbers.join(",")}"`, "Two numbers with a comma between are expected.");
  }
  return [first, second];
}

function orderedPair(name: string, numbers: readonly number[] | undefined): readonly [number, number] | undefined {
  const pair = pairOf(name, numbers);
  if (pair !== undefined && pair[0] > pair[1]) throw usageError(`--${name} cannot be "${pair.join(",")}"`, "The lower limit comes first.");
  return pair;
}
