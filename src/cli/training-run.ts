/** A training run from folder to folder: `train` and `demo` differ only in where things lie. */

import type { AttachOptions } from "../attach/options.ts";
import { openRunFolder, type RunFolder, refuseRunFolder } from "../files/run-folder.ts";
import { type GraphName, graphPath, type TrainingFolder } from "../files/training-folder.ts";
import { OhemgenError } from "../support/errors.ts";
import { openBatchQueue } from "../train/batch-queue.ts";
import { type Checkpoint, freshProgress, type Progress } from "../train/checkpoint.ts";
import { checkSamples, FailureCount } from "../train/data-check.ts";
import type { DataSpec } from "../train/decode-jobs.ts";
import { type DecodePool, openDecodePool } from "../train/decode-pool.ts";
import { deviceOutputs, deviceStateReader, stateCopyModel } from "../train/device-state.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import { type Layout, layoutOf } from "../train/layout.ts";
import { type LoopHooks, type Outcome, train } from "../train/loop.ts";
import type { Session } from "../train/runtime.ts";
import { openSession, type Provider, runtimeState } from "../train/session.ts";
import { evaluationMultiple, paddedNote } from "../train/size-multiple.ts";
import { accumulatingStepper, fusedStepper, type Stepper } from "../train/step.ts";
import { type DataFolders, labelMapOption, openData } from "./data.ts";
import type { Output } from "./output.ts";
import { type Machine, machineChanges, machineOf, providerWarning } from "./run-machine.ts";
import { RunRecord } from "./run-record.ts";
import { RunReporter } from "./run-reporter.ts";
import { Checkpoints, type RunConfig, readLastCheckpoint, readRunConfig, rewindMetrics, writeRunConfig } from "./run-state.ts";
import { catchSignals, type StopSignal } from "./signals.ts";
import { plural, table } from "./table.ts";
import { changesOf, describeSettings, resolveSettings, type Settings, type SettingsRequest } from "./training-settings.ts";
import { openTrainingSource } from "./training-source.ts";

export interface RunRequest extends DataFolders {
  /** A training folder, or a model to attach. */
  readonly source: string;
  /** What was asked for of `attach`; empty for a training folder. */
  readonly attach: AttachOptions;
  readonly run: string;
  readonly resume: boolean;
  /** Folder for the model after each phase of attaching it. */
  readonly dump?: string | undefined;
  readonly validation: DataFolders | undefined;
  readonly labelMap: string | undefined;
  readonly settings: SettingsRequest;
  /** `undefined`: those of the run that is taken up, else the CPU and the runtime's own number of threads. */
  readonly provider: Provider | undefined;
  readonly threads: number | undefined;
}

export interface RunSummary {
  readonly run: string;
  /** The training folder. */
  readonly graphs: string;
  readonly reason: Outcome["reason"];
  /** The signal that ended it. */
  readonly signal: StopSignal | null;
  readonly steps: number;
  readonly skipped: number;
  readonly skipped_images: number;
  readonly best: Progress["best"];
  /** Of the last validation. */
  readonly validation: Evaluation | null;
  /** Share of the time in which steps waited for pictures. */
  readonly waited: number;
  readonly files: readonly string[];
}

/** Everything that is open while a run goes on. */
interface Opened {
  readonly run: RunFolder;
  readonly folder: TrainingFolder;
  readonly layout: Layout;
  readonly data: DataSpec;
  readonly pool: DecodePool;
  readonly settings: Settings;
  readonly machine: Machine;
  readonly checkpoint: Checkpoint | undefined;
}

/** @throws OhemgenError for whatever does not fit together, before anything is written; E415, E421, E112 later, with the run saved. */
export async function runTraining(request: RunRequest, output: Output): Promise<RunSummary> {
  const closing: (() => unknown)[] = [];
  try {
    const opened = await openRun(request, output, closing);
    return await trainOpened(request, opened, output, closing);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

async function openRun(request: RunRequest, output: Output, closing: (() => unknown)[]): Promise<Opened> {
  if (!request.resume) refuseRunFolder(request.run);
  const openFolder = (): RunFolder => {
    const run = openRunFolder(request.run, request);
    closing.push(run.close);
    return run;
  };
  // A new run's folder comes last: an error before leaves nothing behind.
  const existing = request.resume ? openFolder() : undefined;
  const warn = (text: string): void => (output.json ? output.event({ event: "warning", message: text }) : output.warn(text));
  const labelMap = labelMapOption(request.labelMap);
  const stored = existing === undefined ? undefined : readRunConfig(existing);
  const machine = machineOf(request, stored);
  const source = openTrainingSource(request.source, request.attach, { run: request.run, labelMap, provider: machine.ep });
  const layout = layoutOf(source.manifest);
  const wrong = providerWarning(source.manifest, machine.ep);
  if (wrong !== undefined) warn(wrong);
  const checkpoint = existing === undefined || stored === undefined ? undefined : readLastCheckpoint(existing, source.manifest, warn);
  const training = openData(request, layout, labelMap, warn);
  const evaluation = request.validation === undefined ? undefined : openData(request.validation, layout, labelMap, warn);
  const pool = openDecodePool({ training, evaluation });
  closing.push(() => pool.close());
  // Files that became bad since the run began are left out, as during the run.
  const strict = checkpoint === undefined;
  const picture = await checkSamples(pool, "training", training, strict);
  if (evaluation !== undefined) await checkSamples(pool, "evaluation", evaluation, strict);
  const present = checkpoint === undefined ? undefined : stored?.settings;
  const context = { layout, manifest: source.manifest, images: training.pairs.length, picture, validation: evaluation !== undefined, stored: present };
  const settings = resolveSettings(request.settings, context);
  const run = existing ?? openFolder();
  const folder = source.open();
  const step = checkpoint?.progress.step;
  if (step !== undefined && stored !== undefined) {
    for (const change of [...changesOf(settings, stored.settings), ...machineChanges(machine, stored)]) warn(`from step ${step} on: ${change}`);
  }
  rewindMetrics(run, step);
  writeRunConfig(run, configOf(request, folder, settings, machine));
  return { run, folder, layout, data: { training, evaluation }, pool, settings, machine, checkpoint };
}

function configOf({ images, masks, validation, labelMap }: RunRequest, { dir, manifest }: TrainingFolder, settings: Settings, machine: Machine): RunConfig {
  const { fingerprint, classNames, classColours } = manifest;
  const data = { images, masks, validation: validation ?? null, labelMap: labelMap ?? null };
  return { format: 1, fingerprint, graphs: dir, ...data, classNames, classColours, settings, ...machine };
}

type Opener = (name: "train_step" | "gradient" | "update", options?: { readonly onDevice: readonly string[] }) => Promise<Session>;

/** @param read fetches state from the device it stays on; undefined: it is on the CPU */
async function openStepper({ folder, layout, settings }: Opened, open: Opener, read: Stepper["read"] | undefined): Promise<Stepper> {
  const kept = read === undefined ? [] : deviceOutputs(folder.manifest);
  // Running statistics come from the gradient's graph, whose results are read.
  const updated = kept.filter((name) => name !== "running_stats.next");
  if (settings.accumulate === 1) return fusedStepper(await open("train_step", { onDevice: kept }), layout, read);
  return accumulatingStepper(await open("gradient"), await open("update", { onDevice: updated }), layout, settings.accumulate, read);
}

async function trainOpened(request: RunRequest, opened: Opened, output: Output, closing: (() => unknown)[]): Promise<RunSummary> {
  const { run, folder, layout, data, pool, settings, machine, checkpoint } = opened;
  const sessions = { threads: machine.threads, provider: machine.ep };
  const closed = (session: Session): Session => {
    closing.push(() => session.close());
    return session;
  };
  const open = async (name: GraphName, options = {}): Promise<Session> => closed(await openSession(graphPath(folder, name), { ...sessions, ...options }));
  const onDevice = machine.ep === "webgpu";
  const read = onDevice ? deviceStateReader(closed(await openSession(stateCopyModel(folder.manifest), sessions))) : undefined;
  const stepper = await openStepper(opened, open, read);
  closing.push(() => stepper.release());
  const evaluator = data.evaluation === undefined ? undefined : await open("eval_step");
  const start = await runtimeState(checkpoint?.state ?? folder.state);
  const multiple = evaluator === undefined ? 1 : await evaluationMultiple(evaluator, start, layout);
  const images = data.training?.pairs.length ?? 0;
  const { schedule, batch, accumulate } = settings;
  const warn = (text: string): void => reporter.warn(text);
  const record = new RunRecord({
    run,
    manifest: folder.manifest,
    config: { ...configOf(request, folder, settings, machine) },
    evaluation: data.evaluation,
    warn,
  });
  const reporter = new RunReporter(output, schedule.steps, run.append, (event) => record.add(event));
  const checkpoints = new Checkpoints(run, folder, (text) => reporter.warn(text));
  if (checkpoint !== undefined) checkpoints.repairModel();
  const progress = checkpoint?.progress ?? freshProgress(settings.seed);
  const rows = [["into", `${run.dir}/`], ["images", imagesText(data, layout, batch)], ...describeSettings(settings, images, evaluator !== undefined)];
  reporter.note(`${checkpoint === undefined ? "training" : `taking up the run after step ${progress.step}`}\n${table(rows)}`);
  if (multiple > 1) reporter.note(paddedNote);
  reporter.start({ step: progress.step, epoch: progress.epoch, steps: schedule.steps, images, batch, accumulate, resumed: checkpoint !== undefined });

  const signals = catchSignals((signal) => reporter.note(`${signal}: finishing this step and saving; once more to quit at once`));
  closing.push(signals.release);
  const failures = new FailureCount(images + (data.evaluation?.pairs.length ?? 0), (text) => reporter.warn(text));
  const stopping = (): boolean => signals.caught() !== undefined || failures.tooMany;
  let reached = progress;
  let waited = { share: 0, steps: 0 };
  const hooks: LoopHooks = {
    stopping,
    onFailure: (failure) => failures.add(failure),
    onStep(metrics) {
      waited = { share: waited.share + metrics.waited, steps: waited.steps + 1 };
      reporter.step(metrics);
    },
    save(state, best) {
      reached = state.progress;
      // Without validation the last state is the best that is known.
      checkpoints.save(state, best || evaluator === undefined);
    },
    ...(evaluator === undefined ? {} : validationHooks(evaluator, multiple, opened, { failures, record, reporter, stopping })),
  };
  const queue = openBatchQueue(pool, settings, progress.step * accumulate, schedule.steps * accumulate);
  try {
    const outcome = await train({ stepper, queue, images }, settings, { state: start, progress }, hooks);
    reached = outcome.progress;
    if (failures.tooMany) throw failures.error();
    reporter.end(outcome.reason, reached);
    return {
      run: run.dir,
      graphs: folder.dir,
      reason: outcome.reason,
      signal: signals.caught() ?? null,
      steps: reached.step,
      skipped: reached.skipped,
      skipped_images: reached.skippedImages,
      best: reached.best,
      validation: reporter.validation,
      waited: waited.steps === 0 ? 0 : waited.share / waited.steps,
      files: [...[...checkpoints.files].map(run.path), ...record.files],
    };
  } catch (error) {
    // The first error counts, not that of a disk which is full for this line too.
    ignoringErrors(() => reporter.end("failed", reached));
    throw error;
  }
}

function ignoringErrors(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
  }
}

interface Watchers {
  readonly failures: FailureCount;
  readonly record: RunRecord;
  readonly reporter: RunReporter;
  readonly stopping: () => boolean;
}

function validationHooks(
  evaluator: Session,
  multiple: number,
  { data, layout, pool, settings }: Opened,
  { failures, record, reporter, stopping }: Watchers,
): Pick<LoopHooks, "validate" | "onValidation"> {
  const size = data.evaluation?.pairs.length ?? 0;
  let seconds = 0;
  return {
    async validate(state) {
      const began = performance.now();
      const evaluation = await evaluate(
        evaluator,
        state,
        { pool, layout, size, multiple },
        {
          // No more pixels than a training batch has: what fits for one fits for the other.
          batch: settings.batch,
          pixels: settings.batch * settings.size[0] * settings.size[1],
          stopping,
          onFailure: (failure) => failures.add(failure),
          onProgress: (done) => reporter.progress(`validated ${done}/${size} images`),
        },
      );
      seconds = (performance.now() - began) / 1000;
      if (evaluation !== undefined) await record.predict(evaluator, state, multiple);
      return evaluation;
    },
    onValidation: (progress, evaluation, best) => reporter.validated(progress, evaluation, best, seconds),
  };
}

function imagesText({ training, evaluation }: DataSpec, layout: Layout, batch: number): string {
  const count = plural(training?.pairs.length ?? 0, "image");
  if (evaluation === undefined) return `${count}, none to validate on`;
  const { length } = evaluation.pairs;
  // With several tiles to a picture nobody knows yet how many there are.
  const whole = layout.batch === null || layout.batch === 1 || (layout.height === null && layout.width === null && length % batch === 0);
  return `${count}, ${length} to validate on${whole ? "" : `; a last batch of fewer than ${batch} is filled up with ignored pixels`}`;
}
