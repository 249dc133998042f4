/** What a run leaves for people besides its diary: `report.html` and TensorBoard events. Neither may end the run. */

import { appendFileSync, existsSync } from "node:fs";
import type { Manifest } from "../attach/manifest.ts";
import { writing } from "../files/atomic.ts";
import type { RunFolder } from "../files/run-folder.ts";
import { OhemgenError } from "../support/errors.ts";
import { Dataset, type DatasetSpec } from "../train/dataset.ts";
import { diskPictures } from "../train/disk-pictures.ts";
import { type JournalEvent, readJournal } from "../train/journal.ts";
import { RunHistory } from "../train/report/history.ts";
import { reportPage } from "../train/report/page.ts";
import { type SamplePicture, samplePicture } from "../train/report/pictures.ts";
import { predictSample, sampleIndices } from "../train/report/predict-samples.ts";
import type { ClassLabel } from "../train/report/sections.ts";
import type { Session, Tensors } from "../train/runtime.ts";
import { boardRecords, eventFileHead, eventFileName } from "../train/tensorboard.ts";

export const reportFile = "report.html";

export interface RecordOptions {
  readonly run: RunFolder;
  readonly manifest: Manifest;
  /** `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly evaluation: DatasetSpec | undefined;
  readonly warn: (text: string) => void;
}

export class RunRecord {
  readonly #options: RecordOptions;
  readonly #history = new RunHistory();
  readonly #classes: readonly ClassLabel[];
  readonly #dataset: Dataset | undefined;
  /** The TensorBoard file of this start of the command, once there is something to write. */
  #board: string | undefined;
  #pictures: readonly SamplePicture[] = [];
  #warned = false;
  /** Paths of what was written. */
  readonly files = new Set<string>();

  /** Reads what the run has told before, if it is taken up again. */
  constructor(options: RecordOptions) {
    const { run, manifest, evaluation } = options;
    this.#options = options;
    this.#classes = manifest.classColours.map((colour, i) => ({ name: manifest.classNames?.[i] ?? `class ${i}`, colour }));
    this.#dataset = evaluation === undefined ? undefined : new Dataset(evaluation, diskPictures, pictureMemory);
    const told = run.read("metrics.jsonl");
    if (told !== undefined) for (const event of readJournal(new TextDecoder().decode(told))) this.#history.add(event);
  }

  /** The report is written with each validation and at the end. */
  add(event: JournalEvent): void {
    this.#history.add(event);
    this.#addToBoard(event);
    if (event.event === "val" || event.event === "end") this.#write();
  }

  #addToBoard(event: JournalEvent): void {
    const { run } = this.#options;
    const now = Date.now() / 1000;
    const head = this.#board === undefined ? eventFileHead(now) : new Uint8Array(0);
    this.#board ??= run.path(eventFileName(now, (name) => existsSync(run.path(name))));
    const path = this.#board;
    const names = this.#classes.map(({ name }) => name);
    const bytes = Buffer.concat([head, boardRecords(event, now, names)]);
    if (bytes.length > 0) this.#attempt(path, () => writing(path, () => appendFileSync(path, bytes)));
  }

  /** Pictures for the next report, by the state that was validated. */
  async predict(session: Session, state: Tensors, multiple: number): Promise<void> {
    const dataset = this.#dataset;
    const step = this.#history.lastStep;
    if (dataset === undefined) return;
    const colours = this.#classes.map(({ colour }) => colour);
    const pictures: SamplePicture[] = [];
    try {
      for (const index of sampleIndices(dataset.size)) {
        const sample = await predictSample(session, state, dataset, index, multiple);
        if (sample !== undefined) pictures.push(samplePicture({ ...sample, step }, colours));
      }
      this.#pictures = pictures;
    } catch (error) {
      this.#failed("pictures for the report are not made", error);
    }
  }

  #write(): void {
    const { run, manifest, config } = this.#options;
    const data = { manifest, config, classes: this.#classes, history: this.#history, pictures: this.#pictures };
    this.#attempt(run.path(reportFile), () => run.save(reportFile, reportPage(data)));
  }

  /** The weights matter more: a disk that is full is told once here, and again where a checkpoint does not fit. */
  #attempt(path: string, work: () => void): void {
    try {
      work();
      this.files.add(path);
    } catch (error) {
      this.#failed(`${path} is not written`, error);
    }
  }

  #failed(what: string, error: unknown): void {
    if (!(error instanceof OhemgenError)) throw error;
    if (!this.#warned) this.#options.warn(`${what}: ${error.message}`);
    this.#warned = true;
  }
}

/** Bytes of decoded pictures to keep from one validation to the next. */
const pictureMemory = 64 * 2 ** 20;
