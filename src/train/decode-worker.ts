/** A thread that decodes: takes jobs in order, answers each with its result or its error. */

import { parentPort, workerData } from "node:worker_threads";
import { OhemgenError } from "../support/errors.ts";
import { type DataSpec, Decoder, type Job, transferables } from "./decode-jobs.ts";
import { diskPictures } from "./disk-pictures.ts";

export interface WorkerTask {
  readonly id: number;
  readonly job: Job;
}

const { spec, cacheLimit } = workerData as { readonly spec: DataSpec; readonly cacheLimit: number };
const decoder = new Decoder(spec, diskPictures, cacheLimit);
let before: Promise<void> = Promise.resolve();

parentPort?.on("message", ({ id, job }: WorkerTask) => {
  before = before.then(() => answer(id, job));
});

async function answer(id: number, job: Job): Promise<void> {
  try {
    const result = await decoder.run(job);
    parentPort?.postMessage({ id, result }, transferables(result));
  } catch (error) {
    parentPort?.postMessage({ id, error: plainError(error) });
  }
}

/** A class does not survive the way to another thread; its fields do. */
function plainError(error: unknown): object {
  if (!(error instanceof OhemgenError)) return { stack: error instanceof Error ? error.stack : String(error) };
  const { message, code, where, hint, exitCode } = error;
  return { message, code, where, hint, exitCode };
}
