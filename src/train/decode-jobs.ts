/** What is decoded beside the training step, as messages between threads: jobs in, arrays out. */

import { type Batch, type Buffers, type LoadedBatch, pictureTiles, type TrainingPlan, trainingBatch } from "./batches.ts";
import { Dataset, type DatasetSpec, failureOf, type PictureSource, type SampleFailure } from "./dataset.ts";

/** The data of a run. */
export interface DataSpec {
  readonly training?: DatasetSpec | undefined;
  readonly evaluation?: DatasetSpec | undefined;
}

export type SetName = keyof DataSpec;

export type Job =
  | { readonly kind: "batch"; readonly index: number; readonly plan: TrainingPlan; readonly buffers?: Buffers | undefined }
  | { readonly kind: "tiles"; readonly index: number; readonly multiple: number }
  | { readonly kind: "check"; readonly set: SetName; readonly index: number };

export interface JobResults {
  readonly batch: LoadedBatch;
  /** Tiles of a picture, or why there are none. */
  readonly tiles: readonly Batch[] | SampleFailure;
  /** Size of a picture, or why it cannot be used. */
  readonly check: { readonly width: number; readonly height: number } | SampleFailure;
}

export type JobResult = JobResults[Job["kind"]];

/** Does jobs one after another; every thread has one. */
export class Decoder {
  readonly #sets: Readonly<Record<SetName, Dataset | undefined>>;

  /** @param cacheLimit bytes of decoded pictures to keep */
  constructor({ training, evaluation }: DataSpec, source: PictureSource, cacheLimit: number) {
    const share = training !== undefined && evaluation !== undefined ? cacheLimit / 2 : cacheLimit;
    const dataset = (spec: DatasetSpec | undefined): Dataset | undefined => (spec === undefined ? undefined : new Dataset(spec, source, share));
    this.#sets = { training: dataset(training), evaluation: dataset(evaluation) };
  }

  async run(job: Job): Promise<JobResult> {
    if (job.kind === "batch") return trainingBatch(this.#sets.training as Dataset, job.plan, job.index, job.buffers);
    if (job.kind === "tiles") return pictureTiles(this.#sets.evaluation as Dataset, job.index, job.multiple);
    const dataset = this.#sets[job.set] as Dataset;
    try {
      const { width, height } = (await dataset.sample(job.index)).picture;
      return { width, height };
    } catch (error) {
      return failureOf(error, dataset.pairs[job.index] as Dataset["pairs"][number]);
    }
  }
}

/** Memory in a result that can be handed over instead of copied. */
export function transferables(result: JobResult): ArrayBuffer[] {
  const buffers = ({ images, labels }: Batch): ArrayBuffer[] => [images.buffer as ArrayBuffer, labels.buffer as ArrayBuffer];
  if (Array.isArray(result)) return (result as readonly Batch[]).flatMap(buffers);
  return "batch" in result ? buffers(result.batch) : [];
}
