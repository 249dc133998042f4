/** `manifest.json`: everything a host needs to run the training graphs without opening them. */

import type { Shape } from "../ir/dims.ts";
import type { DataType } from "../ir/dtype.ts";
import type { Colour } from "./colours.ts";

export const manifestFormat = 1;

/** What a tensor of a training graph is for. */
export type TensorRole = "image" | "labels" | "learning-rate" | "state" | "gradient" | "loss" | "metric" | "check" | "prediction";

export interface TensorInfo {
  readonly name: string;
  readonly role: TensorRole;
  readonly type: DataType;
  /** Numbers, or names of dynamic sizes; `null` where a size is not known. */
  readonly shape: readonly (number | string | null)[];
}

export interface GraphInfo {
  readonly file: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

export interface ParameterInfo {
  /** Name of the initializer (or of the output of the Constant node) in the source file. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Position in the flat vector `params`, in elements. */
  readonly offset: number;
  readonly length: number;
  /** Index into `groups`. */
  readonly group: number;
  /** Weight decay applies. */
  readonly decay: boolean;
}

/** A slice of the flat vectors with one learning rate factor and one decay. */
export interface GroupInfo {
  readonly offset: number;
  readonly length: number;
  readonly learningRateFactor: number;
  readonly weightDecay: number;
}

export interface FrozenInfo {
  readonly name: string;
  readonly shape: readonly number[];
  /** Why it is not trained, in words. */
  readonly reason: string;
}

export interface RunningStatistic {
  /** Name of the initializer in the source file. */
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

export interface HeadInfo {
  readonly name: string;
  readonly logits: string;
  readonly weight: number;
  readonly classes: number;
}

export interface HeadResetInfo {
  readonly classes: number;
  readonly seed: number;
  /** By their names in the file that `export` writes. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

export interface UntiedInfo {
  readonly patterns: readonly string[];
  /** Running statistics were separated too. */
  readonly statistics: boolean;
  /** Copies, by their names in the file that `export` writes; `of`: the tensor of the source file, `reader`: the node. */
  readonly tensors: readonly { readonly name: string; readonly of: string; readonly reader: string }[];
}

export interface Preprocessing {
  /** Per channel, on pixels scaled to 0…1; the default is ImageNet's. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channelOrder: "rgb" | "bgr";
}

export type StockGraphs = Readonly<Record<"train_step" | "gradient" | "update" | "eval_step", GraphInfo>>;

/** For the on-device training API of ONNX Runtime; tensors of the checkpoint have their names in the source file. */
export interface OrtTrainingInfo {
  readonly runtime: string;
  readonly trainingModel: string;
  readonly evalModel: string;
  readonly optimizerModel: string;
  readonly checkpoint: string;
  readonly optimizer: "AdamWOptimizer" | "SGDOptimizerV2";
  /** In the order they are fed and fetched. */
  readonly userInputs: readonly TensorInfo[];
  readonly trainingOutputs: readonly TensorInfo[];
  readonly evalOutputs: readonly TensorInfo[];
}

export interface Manifest {
  readonly format: typeof manifestFormat;
  readonly source: { readonly path: string; readonly sha256: string };
  /** Identifies what the state belongs to: changes with the model, the trained tensors and the optimizer. */
  readonly fingerprint: string;
  readonly options: Readonly<Record<string, unknown>>;
  /** What target `stock` wrote; null where `ort-training` was asked for alone. */
  readonly graphs: StockGraphs | null;
  /** What target `ort-training` wrote; null without it. */
  readonly ortTraining: OrtTrainingInfo | null;
  /** File that lists the operators of all graphs for a reduced build of ONNX Runtime; null where it was not asked for. */
  readonly requiredOperators: string | null;
  /** State tensors of the stock graphs in input order, as in `state.safetensors`; none without those graphs. */
  readonly state: readonly TensorInfo[];
  readonly parameters: readonly ParameterInfo[];
  readonly groups: readonly GroupInfo[];
  readonly frozen: readonly FrozenInfo[];
  readonly runningStatistics: readonly RunningStatistic[];
  readonly heads: readonly HeadInfo[];
  /** Layers that were made anew for another number of classes; `export` changes the shapes of these tensors in the source model. */
  readonly resetHead: HeadResetInfo | null;
  /** Shared tensors that became one parameter per reading node; `export` adds them to the source model as initializers. */
  readonly untied: UntiedInfo | null;
  readonly classNames: readonly string[] | null;
  /** One per class, two for a one-channel head. */
  readonly classColours: readonly Colour[];
  readonly preprocessing: Preprocessing;
  readonly session: { readonly enableMemPattern: false; readonly executionMode: "sequential"; readonly graphOptimizationLevel: "all" };
  readonly versions: { readonly ohemgen: string; readonly opset: number; readonly irVersion: number };
}

export function shapeInfo(shape: Shape | undefined): (number | string | null)[] {
  return (shape ?? []).map((dim) => (typeof dim === "string" && dim.startsWith("?") ? null : dim));
}
