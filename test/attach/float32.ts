/**
 * How many gradients of the training graph, run once on the runtime with the weights and the picture of the files, lie
 * beyond the bound of reference.test.ts: by number of threads and model, as JSON. Arguments: folders of models.
 */

import { basename } from "node:path";
import * as ort from "onnxruntime-node";
import { encodeModel } from "../../src/proto/encode.ts";
import { floats } from "../run-graph.ts";
import { attachReference, errorsInBounds, feedsOf, readReference } from "./reference.ts";

async function errorsOf(dir: string, threads: number): Promise<readonly number[]> {
  const reference = readReference(dir);
  const result = attachReference(dir, reference);
  const session = await ort.InferenceSession.create(encodeModel(result.graphs.gradient), { enableMemPattern: false, intraOpNumThreads: threads });
  const out = await session.run(feedsOf(dir, result, 0));
  await session.release();
  return [...errorsInBounds(result, reference, floats(out["params.grad"])).values()];
}

const columns: Record<string, Record<string, { beyond: number; worst: number }>> = {};
for (const threads of [1, 2]) {
  const column: Record<string, { beyond: number; worst: number }> = {};
  for (const dir of process.argv.slice(2)) {
    const errors = await errorsOf(dir, threads);
    column[basename(dir)] = { beyond: errors.filter((error) => !(error <= 1)).length, worst: Math.max(...errors) };
  }
  columns[`ohemgen, ${threads} thread${threads > 1 ? "s" : ""}`] = column;
}
process.stdout.write(JSON.stringify(columns));
