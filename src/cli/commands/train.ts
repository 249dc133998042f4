/** `ohemgen train`: trains with the graphs of a folder on a folder of pictures and masks. */

import { usageError } from "../../support/errors.ts";
import { scheduleNames } from "../../train/schedule.ts";
import { defineCommand, type Result } from "../command.ts";
import { decimals, table } from "../table.ts";

export const trainCommand = defineCommand({
  name: "train",
  summary: "train on a folder of images and masks",
  argument: { name: "dir", describe: "the training folder that `ohemgen attach` wrote" },
  options: {
    images: { kind: "text", required: true, describe: "folder of PNG images" },
    masks: { kind: "text", required: true, describe: "folder of masks: PNG whose value is the class, named like the image" },
    "val-images": { kind: "text", describe: "images to validate on" },
    "val-masks": { kind: "text", describe: "masks to validate on" },
    out: { kind: "text", short: "o", describe: "run folder to write", preset: "DIR's name with .run" },
    steps: { kind: "integer", min: 1, describe: "updates", preset: "1000" },
    epochs: { kind: "number", min: 0.001, describe: "the same in passes over the images" },
    batch: { kind: "integer", min: 1, describe: "images per step", preset: "the graph's, or 8" },
    crop: { kind: "numbers", min: 1, describe: "H,W of the crops, for graphs of dynamic size" },
    lr: { kind: "number", min: 0, describe: "learning rate after warm-up", preset: "0.01, AdamW 0.0003" },
    schedule: { kind: "text", choices: scheduleNames, describe: "how the learning rate falls", preset: "poly" },
    warmup: { kind: "integer", min: 0, describe: "steps in which the learning rate rises", preset: "a twentieth" },
    "val-every": { kind: "integer", min: 1, describe: "steps between validations and checkpoints", preset: "a tenth" },
    scale: { kind: "numbers", min: 0.05, max: 20, describe: "limits of the random scale", preset: "0.5,2" },
    flip: { kind: "flag", describe: "mirror every other sample", preset: "on" },
    augment: { kind: "flag", describe: "--no-augment: neither scale nor mirror", preset: "on" },
    seed: { kind: "integer", min: 0, describe: "of order and augmentation", preset: "0" },
    threads: { kind: "integer", min: 1, describe: "threads of the runtime", preset: "all cores" },
  },
  examples: [["ohemgen train model.train --images img --masks msk --val-images vimg --val-masks vmsk --steps 500 -o run", "train and validate"]],
  async run(values, dir, output): Promise<Result> {
    const [valImages, valMasks] = [values["val-images"], values["val-masks"]];
    if ((valImages === undefined) !== (valMasks === undefined)) throw usageError("--val-images and --val-masks belong together", "Give both or none.");
    if (values.steps !== undefined && values.epochs !== undefined) throw usageError("--steps and --epochs exclude each other", "Give one of them.");
    const crop = pairOf("crop", values.crop, Number.isSafeInteger);
    const scale = pairOf("scale", values.scale);
    const { runTraining } = await import("../training-run.ts");
    const { readTrainingFolder } = await import("../../files/training-folder.ts");
    const { refuseRunFolder } = await import("../../files/run-folder.ts");
    const run = values.out ?? `${dir.replace(/[\\/]+$/, "").replace(/\.train$/, "")}.run`;
    refuseRunFolder(run);
    const augment = values.augment ?? true;
    const summary = await runTraining(
      {
        folder: readTrainingFolder(dir),
        run,
        images: values.images,
        masks: values.masks,
        validation: valImages === undefined || valMasks === undefined ? undefined : { images: valImages, masks: valMasks },
        steps: values.steps,
        epochs: values.epochs,
        batch: values.batch,
        crop,
        rate: values.lr,
        schedule: values.schedule ?? "poly",
        warmup: values.warmup,
        validateEvery: values["val-every"],
        augmentation: { scale: augment ? (scale ?? [0.5, 2]) : [1, 1], flip: augment && (values.flip ?? true) },
        seed: values.seed ?? 0,
        threads: values.threads ?? 0,
      },
      output,
    );
    const { best, validation, files, skipped } = summary;
    const rows = [
      ["steps", `${summary.steps}${skipped === 0 ? "" : `, ${skipped} of them not finite and skipped`}`],
      ...(best === null ? [] : [["best mIoU", `${decimals(best.miou)} at step ${best.step}`]]),
      ...(validation === null ? [] : [["last mIoU", decimals(validation.miou)]]),
      ["written", files.join(", ")],
    ];
    return { document: summary, text: table(rows) };
  },
});

function pairOf(name: string, numbers: readonly number[] | undefined, accepts: (value: number) => boolean = () => true): readonly [number, number] | undefined {
  if (numbers === undefined) return undefined;
  const [first, second] = numbers;
  if (numbers.length !== 2 || first === undefined || second === undefined || !numbers.every(accepts)) {
    throw usageError(`--${name} cannot be "${numbers.join(",")}"`, "Two numbers with a comma between are expected.");
  }
  return [first, second];
}
