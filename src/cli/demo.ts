/**
 * The demo: a network that knows scenes by day is fine-tuned on other scenes. Every step is what the commands of the
 * same name do; at the end the exported file, run as any model, must be as good as training said.
 */

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Manifest } from "../attach/manifest.ts";
import { OhemgenError } from "../support/errors.ts";
import { colouredMask, contactSheet } from "../train/colours.ts";
import { Dataset } from "../train/dataset.ts";
import { diskPictures } from "../train/disk-pictures.ts";
import { encodePicture } from "../train/images.ts";
import { layoutOf } from "../train/layout.ts";
import type { Mask, Picture } from "../train/masks.ts";
import { countPixels, emptyConfusion, type Scores, scoresOf } from "../train/metrics.ts";
import { pairFiles } from "../train/pairing.ts";
import { predictPicture } from "../train/predict.ts";
import { attachFile } from "./attach-file.ts";
import { readClassNames } from "./attach-options.ts";
import type { EvaluationDocument } from "./commands/eval.ts";
import { evaluateFolder } from "./evaluation.ts";
import { exportFile } from "./export-file.ts";
import { openInference } from "./inference.ts";
import type { Output } from "./output.ts";
import { runTraining } from "./training-run.ts";

export interface DemoSummary {
  readonly steps: number;
  readonly before: EvaluationDocument;
  readonly after: EvaluationDocument;
  readonly exported: { readonly miou: number | null };
  readonly files: Readonly<Record<string, string>>;
}

/** The bundled files, seen from src/cli and from dist/cli. */
const bundled = fileURLToPath(new URL("../../examples/demo/", import.meta.url));
const marker = "ohemgen-demo.txt";

export async function runDemo(out: string, steps: number, output: Output): Promise<DemoSummary> {
  const paths = demoPaths(out);
  freshFolder(out);
  output.note("attaching the loss, the backward pass and the optimizer to the bundled model");
  const { manifest } = attachFile(paths.source, { out: paths.train, force: false, dryRun: false, options: readClassNames(join(bundled, "classes.txt")) });
  const validation = { images: join(bundled, "val_images"), masks: join(bundled, "val_masks") };
  const before = await evaluateFolder(paths.train, validation, output);
  await runTraining(
    {
      source: paths.train,
      attach: {},
      run: paths.run,
      resume: false,
      images: join(bundled, "images"),
      masks: join(bundled, "masks"),
      validation,
      labelMap: undefined,
      settings: { steps, batch: 8, rate: 0.02, validateEvery: Math.ceil(steps / 4), scale: [0.75, 1.5], color: 0 },
      provider: undefined,
      threads: undefined,
    },
    output,
  );
  const checkpoint = join(paths.run, "best.safetensors");
  const after = await evaluateFolder(paths.train, { ...validation, checkpoint }, output);
  exportFile(paths.train, { out: paths.model, checkpoint, force: false });
  output.note("running the exported model as any inference would");
  const dataset = new Dataset({ ...pairFiles(validation.images, validation.masks), layout: layoutOf(manifest), labelMap: null }, diskPictures);
  const exported = await predictAll(paths.model, manifest, dataset);
  const original = await predictAll(paths.source, manifest, dataset);
  checkResult(before, after, exported.scores);
  writeFileSync(paths.picture, await encodePicture(await beforeAndAfter(dataset, manifest, original.masks, exported.masks)));
  const files = { model: paths.model, picture: paths.picture, graphs: paths.train, run: paths.run };
  return { steps, before, after, exported: { miou: exported.scores.miou }, files };
}

function demoPaths(out: string): Record<"source" | "train" | "run" | "model" | "picture", string> {
  return {
    source: join(bundled, "model.onnx"),
    train: join(out, "model.train"),
    run: join(out, "run"),
    model: join(out, "trained.onnx"),
    picture: join(out, "before-after.png"),
  };
}

/** Replaces the results of an earlier demo; a folder of anything else is left alone. */
function freshFolder(out: string): void {
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, marker))) {
    throw new OhemgenError(`${out} holds other files than those of a demo`, { code: "E110", where: out, hint: "Choose another folder with --out." });
  }
  for (const path of Object.values(demoPaths(out)).slice(1)) rmSync(path, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, marker), "Results of `ohemgen demo`; the next demo replaces them.\n");
}

async function predictAll(path: string, manifest: Manifest, dataset: Dataset): Promise<{ masks: Mask[]; scores: Scores }> {
  const model = await openInference(path, { manifest, preprocessing: manifest.preprocessing });
  const confusion = emptyConfusion(dataset.layout.classes);
  const masks: Mask[] = [];
  for (let i = 0; i < dataset.size; i++) {
    const { picture, mask } = await dataset.sample(i);
    const predicted = await predictPicture(model, picture);
    countPixels(confusion, mask.labels, predicted.labels);
    masks.push(predicted);
  }
  await model.session.close();
  return { masks, scores: scoresOf(confusion) };
}

/** Upsampling in the graph and here round differently; only pixels on the border between two classes may change. */
const roundingLimit = 0.002;

function checkResult(before: EvaluationDocument, after: EvaluationDocument, exported: Scores): void {
  const [from, to, plain] = [before.miou ?? 0, after.miou ?? 0, exported.miou ?? 0];
  if (Math.abs(plain - to) > roundingLimit) {
    throw new OhemgenError(`the exported model has mIoU ${plain.toFixed(4)}, training said ${to.toFixed(4)}`, { code: "E430" });
  }
  if (to <= from) throw new OhemgenError(`training did not help: mIoU ${from.toFixed(4)} before, ${to.toFixed(4)} after`, { code: "E430" });
}

/** Four scenes in rows: the picture, its label, the prediction before, the prediction after. */
async function beforeAndAfter(dataset: Dataset, { classColours }: Manifest, before: readonly Mask[], after: readonly Mask[]): Promise<Picture> {
  const rows = [0, 5, 9, 14]
    .filter((i) => i < dataset.size)
    .map(async (i) => {
      const { picture, mask } = await dataset.sample(i);
      return [picture, ...[mask, before[i] as Mask, after[i] as Mask].map((labels) => colouredMask(labels, classColours))];
    });
  return contactSheet(await Promise.all(rows));
}
