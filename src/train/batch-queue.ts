/** Training batches in order, a few of them ahead of the step. */

import type { Batch, Buffers, LoadedBatch, TrainingPlan } from "./batches.ts";
import type { DecodePool } from "./decode-pool.ts";

export interface BatchQueue {
  /** The next batch; `release` it when the graph has run. */
  next(): Promise<LoadedBatch>;
  release(batch: Batch): void;
}

/** @param first index of the first batch  @param end index after the last one */
export function openBatchQueue(pool: DecodePool, plan: TrainingPlan, first: number, end: number): BatchQueue {
  const ahead = pool.workers + 1;
  const waiting: Promise<LoadedBatch>[] = [];
  const free: Buffers[] = [];
  let asked = first;
  const ask = (): void => {
    while (waiting.length < ahead && asked < end) {
      const batch = pool.run({ kind: "batch", index: asked++, plan, buffers: free.pop() });
      // Its error is thrown where it is awaited, which may be after others.
      batch.catch(() => {});
      waiting.push(batch);
    }
  };
  return {
    async next() {
      ask();
      const batch = await (waiting.shift() as Promise<LoadedBatch>);
      ask();
      return batch;
    },
    release: ({ images, labels }) => {
      free.push({ images, labels });
    },
  };
}
