/**
 * The training loop: batch in, state out, one run of `train_step.onnx` per step. All that a step depends on is the
 * state, the progress and the settings, so a run that is taken up from a checkpoint goes on as if never interrupted.
 */

import { OhemgenError } from "../support/errors.ts";
import type { Checkpoint, Progress } from "./checkpoint.ts";
import { type Dataset, type TrainingPlan, trainingBatch } from "./dataset.ts";
import { batchFeeds, type Evaluation } from "./evaluate.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import { runtimeTensor, type Session, scalarOf, stateTensors, type Tensors } from "./session.ts";

export interface LoopSettings extends TrainingPlan {
  readonly schedule: Schedule;
  /** Validate after every so many steps, and at the end. */
  readonly validateEvery: number;
}

export interface StepMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly ce: number;
  readonly lovasz: number;
  /** Share of the labelled pixels that were hard; null without a labelled pixel. */
  readonly kept: number | null;
  readonly gradNorm: number;
  /** False: something was not finite, and the state stayed as it was. */
  readonly finite: boolean;
  readonly imagesPerSecond: number;
  /** Share of the step's time in which it waited for its pictures. */
  readonly waited: number;
}

export interface LoopHooks {
  readonly onStep?: (metrics: StepMetrics) => void;
  readonly validate?: (state: Tensors) => Promise<Evaluation>;
  readonly onValidation?: (step: number, evaluation: Evaluation, best: boolean) => void;
  /** The state after a validation; `best` if none was better. */
  readonly save?: (checkpoint: Omit<Checkpoint, "fingerprint">, best: boolean) => void;
}

export interface Outcome {
  readonly state: Tensors;
  readonly progress: Progress;
}

/** So many steps in a row without a finite result cannot be chance. */
const patienceWithSkips = 20;

/**
 * Trains from `start` up to `settings.schedule.steps` updates.
 * @throws OhemgenError E421 where the loss stays not finite.
 */
export async function train(session: Session, dataset: Dataset, settings: LoopSettings, start: Outcome, hooks: LoopHooks = {}): Promise<Outcome> {
  let { state, progress } = start;
  let skippedInRow = 0;
  while (progress.step < settings.schedule.steps) {
    const { state: next, metrics } = await trainingStep(session, dataset, settings, state, progress.step);
    state = next;
    skippedInRow = metrics.finite ? 0 : skippedInRow + 1;
    progress = {
      ...progress,
      step: progress.step + 1,
      position: progress.position + settings.batch,
      skipped: progress.skipped + (metrics.finite ? 0 : 1),
    };
    hooks.onStep?.(metrics);
    if (skippedInRow >= patienceWithSkips) throw diverged(progress.step);
    const due = progress.step % settings.validateEvery === 0 || progress.step === settings.schedule.steps;
    if (due) progress = await validation(state, progress, hooks);
  }
  return { state, progress };
}

async function trainingStep(
  session: Session,
  dataset: Dataset,
  settings: LoopSettings,
  state: Tensors,
  step: number,
): Promise<{ state: Tensors; metrics: StepMetrics }> {
  const rate = learningRate(settings.schedule, step);
  const began = performance.now();
  const batch = trainingBatch(dataset, settings, step);
  const fed = performance.now();
  const feeds = await batchFeeds(batch, dataset, session, state);
  feeds.set("learning_rate", await runtimeTensor(Float32Array.of(rate), []));
  const result = await session.run(feeds);
  const valid = scalarOf(result, "valid");
  const time = Math.max(performance.now() - began, 1e-3);
  const metrics: StepMetrics = {
    step: step + 1,
    epoch: ((step + 1) * settings.batch) / dataset.size,
    learningRate: rate,
    loss: scalarOf(result, "loss"),
    ce: result.has("ce") ? scalarOf(result, "ce") : Number.NaN,
    lovasz: result.has("lovasz") ? scalarOf(result, "lovasz") : Number.NaN,
    kept: valid > 0 && result.has("kept") ? scalarOf(result, "kept") / valid : null,
    gradNorm: scalarOf(result, "grad_norm"),
    finite: scalarOf(result, "finite") === 1,
    imagesPerSecond: (1000 * settings.batch) / time,
    waited: (fed - began) / time,
  };
  const next = new Map([...state.keys()].map((name) => [name, result.get(`${name}.next`) as Tensors extends ReadonlyMap<string, infer T> ? T : never]));
  return { state: next, metrics };
}

async function validation(state: Tensors, progress: Progress, hooks: LoopHooks): Promise<Progress> {
  const { step } = progress;
  const evaluation = await hooks.validate?.(state);
  const miou = evaluation?.miou ?? null;
  const isBest = miou !== null && (progress.best === null || miou > progress.best.miou);
  if (evaluation !== undefined) hooks.onValidation?.(step, evaluation, isBest);
  const after = isBest ? { ...progress, best: { step, miou } } : progress;
  hooks.save?.({ progress: after, state: stateTensors(state) }, isBest);
  return after;
}

function diverged(step: number): OhemgenError {
  return new OhemgenError(`the loss or a gradient was not finite in ${patienceWithSkips} steps in a row, up to step ${step}`, {
    code: "E421",
    where: `step ${step}`,
    hint: "Try a lower --lr, a longer --warmup, or `ohemgen attach --clip-norm 1`.",
  });
}
