/**
 * The training loop: batches in, state out. All that a step depends on is the state, the progress and the settings,
 * so a run that is taken up from a checkpoint goes on as if never interrupted.
 */

import { OhemgenError } from "../support/errors.ts";
import type { BatchQueue } from "./batch-queue.ts";
import type { Checkpoint, Progress } from "./checkpoint.ts";
import type { SampleFailure } from "./dataset.ts";
import type { Evaluation } from "./evaluate.ts";
import { stateTensors, type Tensors } from "./runtime.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import type { BorrowedBatch, Stepper } from "./step.ts";

export interface LoopSettings {
  readonly schedule: Schedule;
  /** Images per batch; an update takes as many batches as the stepper says. */
  readonly batch: number;
  /** Validate after every so many steps, and at the end. */
  readonly validateEvery: number;
  /** Save after every so many steps, after every validation, and at the end. */
  readonly saveEvery: number;
  /** Stop after so many validations in a row without a better mIoU; `null`: never. */
  readonly patience: number | null;
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
  /** A sample was left out; throw to end the run. */
  readonly onFailure?: (failure: SampleFailure) => void;
  /** Undefined where it was stopped half way. */
  readonly validate?: (state: Tensors) => Promise<Evaluation | undefined>;
  readonly onValidation?: (progress: Progress, evaluation: Evaluation, best: boolean) => void;
  readonly save?: (checkpoint: Omit<Checkpoint, "fingerprint">, best: boolean) => void;
  /** Asked between steps: true ends the run after saving. */
  readonly stopping?: () => boolean;
}

export interface Position {
  readonly state: Tensors;
  readonly progress: Progress;
}

export interface Outcome extends Position {
  readonly reason: "done" | "patience" | "interrupted";
}

/** What steps are made with. */
export interface Machine {
  readonly stepper: Stepper;
  readonly queue: BatchQueue;
  /** Images in the training folder. */
  readonly images: number;
}

/** So many steps in a row without a finite result cannot be chance. */
const patienceWithSkips = 20;

/**
 * Trains from `start` up to `settings.schedule.steps` updates.
 * @throws OhemgenError E421 where the loss stays not finite; what the hooks throw.
 */
export async function train(machine: Machine, settings: LoopSettings, start: Position, hooks: LoopHooks = {}): Promise<Outcome> {
  const { steps } = settings.schedule;
  const stopping = (): boolean => hooks.stopping?.() ?? false;
  const save = async ({ state, progress }: Position, best = false): Promise<void> => {
    hooks.save?.({ progress, state: stateTensors(await machine.stepper.read(state)) }, best);
  };
  let now = start;
  let skippedInRow = 0;
  // A run that ended within a validation makes up for it first.
  let owed = now.progress.validated < now.progress.step && isDue(now.progress.step, settings);
  for (;;) {
    if (owed) {
      const validated = await validation(now, hooks);
      if (validated === undefined) {
        await save(now);
        return { ...now, reason: "interrupted" };
      }
      now = validated.position;
      await save(now, validated.best);
    }
    const { step } = now.progress;
    if (step >= steps) return { ...now, reason: "done" };
    if (settings.patience !== null && now.progress.stale >= settings.patience) return { ...now, reason: "patience" };
    const { position, metrics } = await oneStep(machine, settings, now, hooks);
    now = position;
    skippedInRow = metrics.finite ? 0 : skippedInRow + 1;
    hooks.onStep?.(metrics);
    const reached = now.progress.step;
    owed = isDue(reached, settings);
    if (skippedInRow >= patienceWithSkips || stopping()) {
      await save(now);
      if (skippedInRow >= patienceWithSkips) throw diverged(reached);
      return { ...now, reason: "interrupted" };
    }
    if (!owed && reached % settings.saveEvery === 0) await save(now);
  }
}

function isDue(step: number, { validateEvery, schedule }: LoopSettings): boolean {
  return step % validateEvery === 0 || step === schedule.steps;
}

async function oneStep(
  { stepper, queue, images }: Machine,
  settings: LoopSettings,
  { state, progress }: Position,
  hooks: LoopHooks,
): Promise<{ position: Position; metrics: StepMetrics }> {
  const rate = learningRate(settings.schedule, progress.step);
  const samples = settings.batch * stepper.batches;
  const began = performance.now();
  let waited = 0;
  let failed = 0;
  const next = async (): Promise<BorrowedBatch> => {
    const asked = performance.now();
    const { batch, failures } = await queue.next();
    waited += performance.now() - asked;
    failed += failures.length;
    for (const failure of failures) hooks.onFailure?.(failure);
    return { batch, release: () => queue.release(batch) };
  };
  const result = await stepper.run(state, next, rate);
  const time = Math.max(performance.now() - began, 1e-3);
  const position = progress.position + samples;
  const after: Progress = {
    ...progress,
    step: progress.step + 1,
    epoch: position / images,
    position,
    skipped: progress.skipped + (result.finite ? 0 : 1),
    skippedImages: progress.skippedImages + failed,
  };
  const { loss, ce, lovasz, gradNorm, finite, valid } = result;
  const kept = valid > 0 && Number.isFinite(result.kept) ? result.kept / valid : null;
  const speed = { imagesPerSecond: (1000 * samples) / time, waited: waited / time };
  const metrics = { step: after.step, epoch: after.epoch, learningRate: rate, loss, ce, lovasz, kept, gradNorm, finite, ...speed };
  return { position: { state: result.state, progress: after }, metrics };
}

async function validation({ state, progress }: Position, hooks: LoopHooks): Promise<{ position: Position; best: boolean } | undefined> {
  const validated = { ...progress, validated: progress.step };
  if (hooks.validate === undefined) return { position: { state, progress: validated }, best: false };
  const evaluation = await hooks.validate(state);
  if (evaluation === undefined) return undefined;
  const { miou } = evaluation;
  const best = miou !== null && (progress.best === null || miou > progress.best.miou);
  const after = best ? { ...validated, best: { step: progress.step, miou }, stale: 0 } : { ...validated, stale: progress.stale + 1 };
  hooks.onValidation?.(after, evaluation, best);
  return { position: { state, progress: after }, best };
}

function diverged(step: number): OhemgenError {
  return new OhemgenError(`the loss or a gradient was not finite in ${patienceWithSkips} steps in a row, up to step ${step}`, {
    code: "E421",
    where: `step ${step}`,
    hint: "Try a lower --lr, a longer --warmup, or `ohemgen attach --clip-norm 1`.",
  });
}
