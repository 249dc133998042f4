/** What a run folder remembers between starts: its configuration, its checkpoints, its best state as a model. */

import type { Colour } from "../attach/colours.ts";
import type { Manifest } from "../attach/manifest.ts";
import type { RunFolder } from "../files/run-folder.ts";
import type { TrainingFolder } from "../files/training-folder.ts";
import { OhemgenError } from "../support/errors.ts";
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from "../train/checkpoint.ts";
import { journalUpTo } from "../train/journal.ts";
import type { DataFolders } from "./data.ts";
import { exportModel, trainedTensors } from "./export-file.ts";
import type { Machine } from "./run-machine.ts";
import type { Settings } from "./training-settings.ts";

const lastFile = "last.safetensors";
const previousFile = "previous.safetensors";
const bestFile = "best.safetensors";
const bestModel = "best.onnx";
const configFile = "config.json";
const metricsFile = "metrics.jsonl";

/** `config.json`: what the run was started with. Paths are as given on the command line. */
export interface RunConfig extends Machine {
  readonly format: 1;
  /** Identifies the graphs whose checkpoints these are. */
  readonly fingerprint: string;
  /** The training folder. */
  readonly graphs: string;
  readonly images: string;
  readonly masks: string;
  readonly validation: DataFolders | null;
  /** `cityscapes`, `voc` or a file; `null`: pixel values are the classes. */
  readonly labelMap: string | null;
  readonly classNames: readonly string[] | null;
  readonly classColours: readonly Colour[];
  readonly settings: Settings;
}

/** Undefined where the run did not get as far as writing it. */
export function readRunConfig(run: RunFolder): RunConfig | undefined {
  const bytes = run.read(configFile);
  if (bytes === undefined) return undefined;
  try {
    const config = JSON.parse(new TextDecoder().decode(bytes)) as RunConfig;
    if (config.format === 1 && typeof config.settings === "object") return config;
  } catch {
    // Said below.
  }
  throw new OhemgenError(`${run.path(configFile)} is not the configuration of a run`, {
    code: "E113",
    where: run.path(configFile),
    hint: "Begin another run with -o.",
  });
}

export function writeRunConfig(run: RunFolder, config: RunConfig): void {
  run.save(configFile, `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * The checkpoint to go on from: the last one, or where that cannot be read the one before.
 * @throws OhemgenError E420 (of other graphs), E105 (neither can be read)
 */
export function readLastCheckpoint(run: RunFolder, manifest: Manifest, warn: (text: string) => void): Checkpoint | undefined {
  const last = run.read(lastFile);
  try {
    if (last !== undefined) return decodeCheckpoint(last, run.path(lastFile), manifest);
  } catch (error) {
    const previous = run.read(previousFile);
    if (!(error instanceof OhemgenError) || error.code !== "E105" || previous === undefined) throw error;
    warn(`${error.message}; going on from ${run.path(previousFile)}`);
    return decodeCheckpoint(previous, run.path(previousFile), manifest);
  }
  const previous = run.read(previousFile);
  return previous === undefined ? undefined : decodeCheckpoint(previous, run.path(previousFile), manifest);
}

/** Drops what a killed run did beyond its checkpoint: it will be done again. */
export function rewindMetrics(run: RunFolder, step: number | undefined): void {
  const text = run.read(metricsFile);
  if (text === undefined) return;
  if (step === undefined) run.remove(metricsFile);
  else run.save(metricsFile, journalUpTo(new TextDecoder().decode(text), step));
}

export class Checkpoints {
  readonly #run: RunFolder;
  readonly #folder: TrainingFolder;
  readonly #warn: (text: string) => void;
  readonly files = new Set<string>([configFile, metricsFile]);

  constructor(run: RunFolder, folder: TrainingFolder, warn: (text: string) => void) {
    this.#run = run;
    this.#folder = folder;
    this.#warn = warn;
  }

  /** The best state goes first: a checkpoint that speaks of it must find it. The model can be made again from it. */
  save(checkpoint: Omit<Checkpoint, "fingerprint">, best: boolean): void {
    const chunks = encodeCheckpoint({ fingerprint: this.#folder.manifest.fingerprint, ...checkpoint });
    if (best) this.#write(bestFile, chunks);
    this.#write(lastFile, chunks, previousFile);
    if (best) this.#writeModel(checkpoint.state);
  }

  /** After a crash between the best state and its model. */
  repairModel(): void {
    const bytes = this.#run.read(bestFile);
    if (bytes === undefined) return;
    this.files.add(bestFile).add(lastFile);
    if (this.#run.isNewer(bestModel, bestFile)) {
      this.files.add(bestModel);
      return;
    }
    this.#writeModel(decodeCheckpoint(bytes, this.#run.path(bestFile), this.#folder.manifest).state);
  }

  #write(name: string, chunks: readonly Uint8Array[], keep?: string): void {
    this.#run.save(name, chunks, keep);
    this.files.add(name);
  }

  /** The model it was made from may have gone in the meantime, which is no reason to lose the run. */
  #writeModel(state: Checkpoint["state"]): void {
    const { manifest } = this.#folder;
    try {
      exportModel(this.#folder, trainedTensors(manifest, state), this.#run.path(bestModel), { force: true });
      this.files.add(bestModel);
    } catch (error) {
      if (!(error instanceof OhemgenError) || error.code === "E112") throw error;
      this.#warn(`${this.#run.path(bestModel)} is not written: ${error.message}. The weights are in ${this.#run.path(bestFile)}.`);
    }
  }
}
