/** A training run from folder to folder: `train` and `demo` differ only in where things lie. */

import type { Manifest } from "../attach/manifest.ts";
import { createRunFolder } from "../files/run-folder.ts";
import { graphPath, type TrainingFolder } from "../files/training-folder.ts";
import { usageError } from "../support/errors.ts";
import type { Augmentation } from "../train/augment.ts";
import { encodeCheckpoint, freshProgress, type Progress } from "../train/checkpoint.ts";
import { Dataset } from "../train/dataset.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import { journalLine, type StepEvent } from "../train/journal.ts";
import { type Layout, layoutOf } from "../train/layout.ts";
import { type LoopSettings, type StepMetrics, train } from "../train/loop.ts";
import { pairFiles } from "../train/pairing.ts";
import type { Schedule } from "../train/schedule.ts";
import { openSession, runtimeState } from "../train/session.ts";
import { exportModel, trainedTensors } from "./export-file.ts";
import type { Output } from "./output.ts";
import { decimals, percent } from "./table.ts";

export interface RunRequest {
  readonly folder: TrainingFolder;
  readonly run: string;
  readonly images: string;
  readonly masks: string;
  readonly validation: { readonly images: string; readonly masks: string } | undefined;
  readonly steps: number | undefined;
  readonly epochs: number | undefined;
  readonly batch: number | undefined;
  readonly crop: readonly [height: number, width: number] | undefined;
  readonly rate: number | undefined;
  readonly schedule: Schedule["kind"];
  readonly warmup: number | undefined;
  readonly validateEvery: number | undefined;
  readonly augmentation: Augmentation;
  readonly seed: number;
  readonly threads: number;
}

export interface RunSummary {
  readonly run: string;
  readonly steps: number;
  readonly skipped: number;
  readonly best: Progress["best"];
  /** Of the last validation. */
  readonly validation: Evaluation | null;
  readonly files: readonly string[];
}

export async function runTraining(request: RunRequest, output: Output): Promise<RunSummary> {
  const { folder, threads } = request;
  const layout = layoutOf(folder.manifest);
  const dataset = openDataset(request.images, request.masks, layout, output);
  const validation = request.validation === undefined ? undefined : openDataset(request.validation.images, request.validation.masks, layout, output);
  const settings = loopSettings(request, layout, dataset, folder.manifest);
  const session = await openSession(graphPath(folder, "train_step"), { threads });
  const evaluator = validation === undefined ? undefined : await openSession(graphPath(folder, "eval_step"), { threads });
  const run = createRunFolder(request.run, runConfig(request, settings));
  const { schedule } = settings;
  output.note(
    `training ${schedule.steps} steps of ${settings.batch} images of ${settings.size.join(" × ")}, ${schedule.kind} rate ${schedule.rate}, into ${run.dir}/`,
  );

  const line = progressLine(schedule.steps);
  const epochs = (step: number): number => (step * settings.batch) / dataset.size;
  const images = { images: dataset.size, batch: settings.batch, accumulate: 1 };
  run.append(journalLine({ event: "start", step: 0, epoch: 0, steps: schedule.steps, ...images, resumed: false, time: new Date().toISOString() }));
  let last: Evaluation | null = null;
  let began = performance.now();
  const files = new Set(["config.json", "metrics.jsonl"]);
  const save = (name: string, work: () => void): void => {
    work();
    files.add(name);
  };
  const { progress } = await train(
    session,
    dataset,
    settings,
    { state: await runtimeState(folder.state), progress: freshProgress(request.seed) },
    {
      onStep(metrics) {
        run.append(journalLine(stepEvent(metrics)));
        output.progress(line(metrics, last), { last: metrics.step === schedule.steps });
      },
      ...(evaluator === undefined || validation === undefined
        ? {}
        : {
            validate: (state) => {
              began = performance.now();
              return evaluate(evaluator, state, validation, { batch: settings.batch });
            },
          }),
      onValidation(step, evaluation, best) {
        last = evaluation;
        const seconds = (performance.now() - began) / 1000;
        const { loss, ce, lovasz, miou, pixelAccuracy, iou, pixels, confusion } = evaluation;
        const scores = { loss, ce, lovasz, miou, pixel_accuracy: pixelAccuracy, iou, pixels, confusion };
        run.append(journalLine({ event: "val", step, epoch: epochs(step), ...scores, images: validation?.size ?? 0, best, seconds }));
      },
      save({ progress: reached, state }, best) {
        const checkpoint = encodeCheckpoint({ fingerprint: folder.manifest.fingerprint, progress: reached, state });
        save("last.safetensors", () => run.save("last.safetensors", checkpoint));
        // Without validation the last state is the best that is known.
        if (!best && validation !== undefined) return;
        save("best.safetensors", () => run.save("best.safetensors", checkpoint));
        save("best.onnx", () => exportModel(folder, trainedTensors(folder.manifest, state), run.path("best.onnx"), { force: true }));
      },
    },
  );
  const { step, best, skipped } = progress;
  const counts = { skipped_steps: skipped, skipped_images: 0 };
  run.append(journalLine({ event: "end", step, epoch: epochs(step), reason: "done", best, ...counts, time: new Date().toISOString() }));
  await Promise.all([session.close(), evaluator?.close()]);
  return { run: run.dir, steps: progress.step, skipped: progress.skipped, best: progress.best, validation: last, files: [...files].map(run.path) };
}

export function openDataset(images: string, masks: string, layout: Layout, output: Output): Dataset {
  const { pairs, unusedMasks } = pairFiles(images, masks);
  if (unusedMasks.length > 0) output.warn(`${unusedMasks.length} masks in ${masks} have no image and are not used: ${unusedMasks.slice(0, 3).join(", ")}`);
  return new Dataset(pairs, layout);
}

/** Defaults that depend on the data, the graphs and each other. */
function loopSettings(request: RunRequest, layout: Layout, dataset: Dataset, manifest: Manifest): LoopSettings {
  const batch = request.batch ?? layout.batch ?? Math.min(8, dataset.size);
  if (layout.batch !== null && batch !== layout.batch) {
    throw usageError(`--batch ${batch}: these graphs have a batch of ${layout.batch}`, "Attach with --input-shape to change it.");
  }
  const steps = request.steps ?? (request.epochs === undefined ? 1000 : Math.ceil((request.epochs * dataset.size) / batch));
  const adamw = manifest.state.some(({ name }) => name === "exp_avg");
  return {
    seed: request.seed,
    batch,
    size: cropSize(request.crop, layout, dataset),
    augmentation: request.augmentation,
    validateEvery: request.validateEvery ?? Math.max(1, Math.ceil(steps / 10)),
    schedule: { kind: request.schedule, rate: request.rate ?? (adamw ? 3e-4 : 0.01), steps, warmup: request.warmup ?? Math.ceil(steps / 20) },
  };
}

/** Strides of segmentation networks divide this. */
const sizeMultiple = 32;

/** The graph's size; where it takes any, what was asked for, or the first picture's rounded down. */
function cropSize(crop: readonly [number, number] | undefined, { height, width }: Layout, dataset: Dataset): readonly [number, number] {
  if (crop !== undefined) {
    if ((height !== null && crop[0] !== height) || (width !== null && crop[1] !== width)) {
      throw usageError(`--crop ${crop}: these graphs take pictures of ${height ?? "any"} × ${width ?? "any"}`, "Attach with --input-shape to change it.");
    }
    return crop;
  }
  if (height !== null && width !== null) return [height, width];
  const { picture } = dataset.sample(0);
  const rounded = (size: number): number => Math.max(sizeMultiple, Math.floor(size / sizeMultiple) * sizeMultiple);
  return [height ?? rounded(picture.height), width ?? rounded(picture.width)];
}

function runConfig({ folder, images, masks, validation, threads }: RunRequest, settings: LoopSettings): object {
  const { fingerprint, source, versions } = folder.manifest;
  return { fingerprint, source: source.path, images, masks, validation: validation ?? null, threads, ...settings, versions };
}

function stepEvent(metrics: StepMetrics): StepEvent {
  const { step, epoch, loss, ce, lovasz, kept, learningRate, gradNorm, finite, imagesPerSecond, waited } = metrics;
  const rest = { lr: learningRate, grad_norm: gradNorm, finite, images_per_second: imagesPerSecond, waited };
  return { event: "step", step, epoch, loss, ce, lovasz, kept, ...rest };
}

/** Rate and time left from the last steps, not the first ones, which warm up. */
function progressLine(steps: number): (metrics: StepMetrics, validation: Evaluation | null) => string {
  let rate = 0;
  let before = performance.now();
  return ({ step, loss, kept, finite }, validation) => {
    const now = performance.now();
    const current = 1000 / Math.max(1, now - before);
    before = now;
    rate = rate === 0 ? current : 0.9 * rate + 0.1 * current;
    const left = Math.ceil((steps - step) / rate);
    const parts = [`step ${step}/${steps}`, `${rate.toFixed(1)}/s`, `${left} s left`, finite ? `loss ${loss.toFixed(4)}` : "not finite, skipped"];
    if (kept !== null) parts.push(`kept ${percent(kept)}`);
    if (validation !== null) parts.push(`mIoU ${decimals(validation.miou)}`);
    return parts.join("  ");
  };
}
