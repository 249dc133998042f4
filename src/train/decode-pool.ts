/**
 * Decoding beside the training step: jobs go to worker threads, results come back in memory that changes hands
 * without a copy. With no workers the same jobs are done in this thread.
 */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ErrorCode } from "../support/error-codes.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { type DataSpec, Decoder, type Job, type JobResult, type JobResults } from "./decode-jobs.ts";
import { diskPictures } from "./disk-pictures.ts";

export interface DecodePool {
  readonly workers: number;
  run<J extends Job>(job: J): Promise<JobResults[J["kind"]]>;
  close(): Promise<void>;
}

/** Half the cores: the step needs the others, and a picture's decoder runs in a thread of its own besides. */
export function defaultWorkers(): number {
  return Math.max(1, Math.min(8, availableParallelism() >> 1));
}

/** Bytes of decoded pictures that all threads together keep. */
const cacheLimit = 512 * 2 ** 20;

export function openDecodePool(spec: DataSpec, workers = defaultWorkers()): DecodePool {
  if (workers > 0) return new WorkerPool(spec, workers);
  const decoder = new Decoder(spec, diskPictures, cacheLimit);
  return { workers, run: async <J extends Job>(job: J) => (await decoder.run(job)) as JobResults[J["kind"]], close: async () => {} };
}

interface Pending {
  readonly resolve: (result: JobResult) => void;
  readonly reject: (error: unknown) => void;
}

interface Answer {
  readonly id: number;
  readonly result?: JobResult;
  readonly error?: { readonly message: string; readonly code?: ErrorCode; readonly stack?: string };
}

/** This file is `.ts` where it runs from source. */
const workerFile = new URL(`./decode-worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

class WorkerPool implements DecodePool {
  readonly workers: number;
  readonly #threads: readonly { readonly worker: Worker; readonly pending: Map<number, Pending> }[];
  #next = 0;
  #failed: unknown;

  constructor(spec: DataSpec, workers: number) {
    this.workers = workers;
    this.#threads = Array.from({ length: workers }, () => {
      const worker = new Worker(workerFile, { workerData: { spec, cacheLimit: cacheLimit / workers } });
      const pending = new Map<number, Pending>();
      worker.on("message", (answer: Answer) => settle(pending, answer));
      worker.on("error", (error) => this.#fail(error));
      worker.on("exit", (code) => {
        if (pending.size > 0) this.#fail(new Error(`a decoding thread ended with code ${code}`));
      });
      return { worker, pending };
    });
  }

  run<J extends Job>(job: J): Promise<JobResults[J["kind"]]> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    const id = this.#next++;
    // Equal pictures should meet the same thread's cache, equal loads the same thread's queue: round robin by index does both.
    const { worker, pending } = this.#threads[job.index % this.workers] ?? bug("no worker");
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve: resolve as Pending["resolve"], reject });
      const buffers = job.kind === "batch" && job.buffers !== undefined ? [job.buffers.images.buffer, job.buffers.labels.buffer] : [];
      worker.postMessage({ id, job }, buffers as ArrayBuffer[]);
    });
  }

  async close(): Promise<void> {
    this.#failed = new Error("the pool is closed");
    for (const { pending } of this.#threads) pending.clear();
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #fail(error: unknown): void {
    this.#failed ??= error;
    for (const { pending } of this.#threads) {
      for (const { reject } of pending.values()) reject(error);
      pending.clear();
    }
  }
}

function settle(pending: Map<number, Pending>, { id, result, error }: Answer): void {
  const waiting = pending.get(id);
  pending.delete(id);
  if (result !== undefined) waiting?.resolve(result);
  else waiting?.reject(revived(error ?? { message: "no answer" }));
}

function revived({ message, code, stack, ...rest }: NonNullable<Answer["error"]>): Error {
  if (code !== undefined) return new OhemgenError(message, { code, ...rest });
  const error = new Error(stack?.split("\n")[0] ?? message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
