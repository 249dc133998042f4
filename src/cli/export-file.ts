/** Trained numbers of a checkpoint into a file; the source model is read, never written. */

import type { Manifest } from "../attach/manifest.ts";
import { headEdits } from "../attach/reset-head.ts";
import { writeFileAtomically } from "../files/atomic.ts";
import { readInput, readModelFile, writePatchedModel } from "../files/model-file.ts";
import { readTrainingFolder, sourceModel, type TrainingFolder } from "../files/training-folder.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import type { ModelEdits } from "../proto/edit.ts";
import { safetensorsChunks } from "../proto/safetensors.ts";
import { bug, OhemgenError, usageError } from "../support/errors.ts";
import { decodeCheckpoint } from "../train/checkpoint.ts";
import { inModel } from "./in-model.ts";

export interface ExportOptions {
  readonly out: string;
  readonly checkpoint?: string | undefined;
  readonly model?: string | undefined;
  /** The moving average instead of the parameters themselves. */
  readonly ema?: boolean | undefined;
  readonly force: boolean;
}

export function exportFile(dir: string, { out, checkpoint, model, ema = false, force }: ExportOptions): { files: string[]; tensors: number } {
  const onnx = out.endsWith(".onnx");
  if (!onnx && !out.endsWith(".safetensors")) throw usageError(`-o ${out}: the ending must be .onnx or .safetensors`);
  const folder = readTrainingFolder(dir);
  const values = trainedTensors(folder.manifest, stateAt(folder, checkpoint), { ema });
  if (!onnx) {
    writeFileAtomically(out, safetensorsChunks(values), { force });
    return { files: [out], tensors: values.size };
  }
  const files = exportModel(folder, values, out, { model, force });
  return { files, tensors: values.size };
}

export function exportModel(
  folder: Pick<TrainingFolder, "dir" | "manifest">,
  values: ReadonlyMap<string, Tensor>,
  out: string,
  { model, force }: { readonly model?: string | undefined; readonly force: boolean },
): string[] {
  const numbers = new Map([...values].map(([name, tensor]) => [name, tensorNumbers(tensor) as Float32Array]));
  const source = sourceModel(folder, model);
  return writePatchedModel(source, numbers, out, { force, edits: headEditsOf(folder.manifest, source) });
}

/** Layers made anew when the folder was: the source model has them in their old shapes. */
function headEditsOf({ resetHead, heads }: Manifest, source: string): ModelEdits | undefined {
  if (!resetHead) return undefined;
  const logits = heads.map(({ logits }) => logits);
  return inModel(source, () => headEdits(readModelFile(source).model, logits, resetHead));
}

/** The state of a checkpoint, or the initial one. */
export function stateAt(folder: TrainingFolder, checkpoint: string | undefined): ReadonlyMap<string, Tensor> {
  return checkpoint === undefined ? folder.state : decodeCheckpoint(readInput(checkpoint), checkpoint, folder.manifest).state;
}

/** Slices of the flat vectors under the names they have in the source file. */
export function trainedTensors(
  { parameters, runningStatistics }: Manifest,
  state: ReadonlyMap<string, Tensor>,
  { ema = false }: { readonly ema?: boolean } = {},
): Map<string, Tensor> {
  if (ema && !state.has("ema")) throw withoutAverage();
  const numbersOf = (name: string): Float32Array => tensorNumbers(state.get(name) ?? bug(`no state "${name}"`)) as Float32Array;
  const params = numbersOf(ema ? "ema" : "params");
  const result = new Map<string, Tensor>();
  for (const { name, shape, offset, length } of parameters) {
    result.set(name, tensorOf("float32", shape, params.subarray(offset, offset + length)));
  }
  for (const { name, offset, length } of runningStatistics) {
    result.set(name, tensorOf("float32", [length], numbersOf("running_stats").subarray(offset, offset + length)));
  }
  return result;
}

function withoutAverage(): OhemgenError {
  return new OhemgenError("the state has no moving average of the parameters", {
    code: "E440",
    where: "--ema",
    hint: "Keep one while training: `ohemgen attach --ema 0.999`.",
  });
}
