/** Trained numbers of a checkpoint into a file; the source model is read, never written. */

import type { Manifest } from "../attach/manifest.ts";
import { headEdits } from "../attach/reset-head.ts";
import { untieTensors } from "../attach/untie.ts";
import { writeFileAtomically } from "../files/atomic.ts";
import { readInput, readModelFile, writePatchedModel } from "../files/model-file.ts";
import { ortCheckpointPath, readTrainingFolder, sourceModel, stockGraphs, type TrainingFolder } from "../files/training-folder.ts";
import { elementCount } from "../ir/dims.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import type { ModelEdits } from "../proto/edit.ts";
import { decodeOrtCheckpoint, isOrtCheckpoint } from "../proto/ort-checkpoint.ts";
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
  /** Large tensors of the model in a data file beside it. */
  readonly externalData?: boolean | undefined;
}

export function exportFile(dir: string, { out, checkpoint, model, ema = false, force, externalData }: ExportOptions): Exported & { readonly tensors: number } {
  const onnx = out.endsWith(".onnx");
  if (!onnx && !out.endsWith(".safetensors")) throw usageError(`-o ${out}: the ending must be .onnx or .safetensors`);
  const folder = readTrainingFolder(dir);
  const values = trainedTensors(folder.manifest, stateAt(folder, checkpoint), { ema });
  if (!onnx) {
    if (externalData) throw usageError(`--external-data goes with a model: ${out} has the weights alone`);
    writeFileAtomically(out, safetensorsChunks(values), { force });
    return { files: [out], tensors: values.size, added: [] };
  }
  return { ...exportModel(folder, values, out, { model, force, externalData }), tensors: values.size };
}

export interface Exported {
  readonly files: readonly string[];
  /** Initializers that the source model does not have. */
  readonly added: readonly string[];
}

export function exportModel(
  folder: Pick<TrainingFolder, "dir" | "manifest">,
  values: ReadonlyMap<string, Tensor>,
  out: string,
  { model, force, externalData }: Pick<ExportOptions, "model" | "force" | "externalData">,
): Exported {
  const numbers = new Map([...values].map(([name, tensor]) => [name, tensorNumbers(tensor) as Float32Array]));
  const source = sourceModel(folder, model);
  const edits = editsOf(folder.manifest, source);
  const files = writePatchedModel(source, numbers, out, { force, edits, externalData });
  return { files, added: edits.flatMap(({ added }) => [...added.keys()]) };
}

/** What `attach` changed in the model beyond numbers, derived again: tensors untied, then layers made anew. */
function editsOf({ untied, resetHead, heads }: Manifest, source: string): readonly ModelEdits[] {
  if (!untied && !resetHead) return [];
  return inModel(source, () => {
    const { model } = readModelFile(source);
    const separate = untied ? untieTensors(model, untied) : undefined;
    const logits = heads.map((head) => head.logits);
    const fresh = resetHead ? headEdits(separate?.model ?? model, logits, resetHead) : undefined;
    return [separate?.edits, fresh].filter((edits) => edits !== undefined);
  });
}

/** The state of a checkpoint, or the initial one. */
export function stateAt(folder: TrainingFolder, checkpoint: string | undefined): ReadonlyMap<string, Tensor> {
  if (checkpoint === undefined && folder.manifest.graphs !== null) return folder.state;
  const path = checkpoint ?? ortCheckpointPath(folder);
  const bytes = readInput(path);
  if (isOrtCheckpoint(bytes)) return stateOfOrtCheckpoint(folder, bytes, path);
  stockGraphs(folder.dir, folder.manifest);
  return decodeCheckpoint(bytes, path, folder.manifest).state;
}

/** Weights and running statistics as the on-device training API saved them; what else is state stays as it was at first. */
function stateOfOrtCheckpoint({ manifest, state }: TrainingFolder, bytes: Uint8Array, path: string): ReadonlyMap<string, Tensor> {
  const { trained, frozen } = decodeOrtCheckpoint(bytes);
  const saved = new Map([...frozen, ...trained]);
  const inARow = (tensors: readonly { readonly name: string; readonly offset: number; readonly length: number }[]): Tensor => {
    const vector = new Float32Array(tensors.reduce((sum, { length }) => sum + length, 0));
    for (const { name, offset, length } of tensors) {
      const tensor = saved.get(name);
      if (tensor?.dtype !== "float32" || elementCount(tensor.dims) !== length) {
        throw new OhemgenError(`${path} does not belong to this training folder: "${name}" is ${tensor === undefined ? "not there" : `[${tensor.dims}]`}`, {
          code: "E420",
          where: path,
          hint: "Use a checkpoint that was trained from this folder's.",
        });
      }
      vector.set(tensorNumbers(tensor), offset);
    }
    return tensorOf("float32", [vector.length], vector);
  };
  const statistics = manifest.runningStatistics;
  return new Map([
    ...state,
    ["params", inARow(manifest.parameters)] as const,
    ...(statistics.length === 0 ? [] : [["running_stats", inARow(statistics)] as const]),
  ]);
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
