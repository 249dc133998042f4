/** The model file with trained numbers in it, in memory: for hosts without a disk. Nothing else in the file changes. */

import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { editModel } from "../proto/edit.ts";
import { loadModel } from "../proto/load.ts";
import { patchTensors } from "../proto/patch.ts";
import { bug } from "../support/errors.ts";
import { unpack } from "./attach.ts";
import type { Manifest } from "./manifest.ts";
import { headEdits } from "./reset-head.ts";

type TrainedInfo = Pick<Manifest, "parameters" | "runningStatistics" | "heads" | "resetHead">;

/**
 * @param source the file that was attached, its tensors inside it
 * @param state as trained: `params` and, with batch statistics, `running_stats`
 * @returns the new file in pieces, mostly views of the old one; with an untrained state the same bytes
 * @throws OhemgenError E106 where the state belongs to another model
 */
export function trainedModel(source: Uint8Array, manifest: TrainedInfo, state: ReadonlyMap<string, Tensor>): readonly Uint8Array[] {
  const { heads, resetHead, runningStatistics } = manifest;
  const numbers = (name: string): Float32Array => tensorNumbers(state.get(name) ?? bug(`no state "${name}"`)) as Float32Array;
  const logits = heads.map((head) => head.logits);
  const bytes = resetHead ? editModel(source, headEdits(loadModel(source), logits, resetHead)) : source;
  const values = new Map(unpack(manifest, numbers("params")));
  for (const { name, offset, length } of runningStatistics) values.set(name, numbers("running_stats").subarray(offset, offset + length));
  return patchTensors(bytes, values).chunks;
}
