/** Options of `attach` as the library takes them; the command line and `--config` are translated into this. */

import type { Provider } from "../ops/provider.ts";
import type { Colour } from "./colours.ts";

export const targets = ["stock", "ort-training", "all"] as const;
export type Target = (typeof targets)[number];

/** One head: where its logits are and how its loss counts. */
export interface HeadOptions {
  readonly logits?: string;
  readonly name?: string;
  readonly weight?: number;
  /** As in `loss`, on top of it. */
  readonly loss?: Readonly<Record<string, unknown>>;
}

export interface OptimizerOptions {
  readonly kind?: "sgd" | "adamw";
  /** SGD; default 0.9. */
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  /** Defaults of torch.optim: 0 for SGD, 0.01 for AdamW. */
  readonly weightDecay?: number;
  /** Globs of tensors without decay; default: tensors of one dimension. */
  readonly decayExclude?: readonly string[];
  /** Factors on the learning rate by glob; the last match counts. */
  readonly learningRateFactors?: readonly { readonly pattern: string; readonly factor: number }[];
  /** Largest L2 norm of the gradient; off by default. */
  readonly clipNorm?: number;
  /** Decay of an exponential moving average of the parameters; off by default. */
  readonly ema?: number;
}

export interface AttachOptions {
  /** Tensor that holds the logits; default: found from the outputs. */
  readonly logits?: string;
  /** Further heads. */
  readonly heads?: readonly HeadOptions[];
  /** Checked against the model. */
  readonly classes?: number;
  /** Sizes per input: numbers fix a dimension, names keep it dynamic. */
  readonly inputShapes?: Readonly<Record<string, readonly (number | string)[]>>;
  readonly labelSize?: "full" | "logits" | readonly [number, number];
  readonly labelType?: "auto" | "uint8" | "int32" | "int64";
  readonly train?: readonly string[];
  readonly freeze?: readonly string[];
  /** Tensors that several nodes read, made one parameter per reading node. */
  readonly untie?: readonly string[];
  readonly batchNorm?: "frozen" | "batch";
  /** Fresh last layers for so many classes. */
  readonly resetHead?: number;
  /** Of the numbers that `resetHead` draws; default 0. */
  readonly seed?: number;
  /** Nested as in the loss specification: ce, lovasz, ignoreIndex, upsample; `preset` first. */
  readonly preset?: string;
  readonly loss?: Readonly<Record<string, unknown>>;
  readonly optimizer?: OptimizerOptions;
  readonly classNames?: readonly string[];
  readonly classColours?: readonly Colour[];
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly channelOrder?: "rgb" | "bgr";
  /** For whoever writes the graphs: large tensors in data files beside them; default: from 1.5 GB on. */
  readonly externalData?: boolean;
  /** Graphs to write: `stock` (default) for any runtime, `ort-training` for the on-device training API of ONNX Runtime 1.19.2. */
  readonly target?: Target;
  /** Also list the operators of the graphs, for a reduced build of ONNX Runtime. */
  readonly requiredOperators?: boolean;
  /** Which runtime provider the graphs are made for; default: any. */
  readonly provider?: Provider;
  /** Make cheap activations again in the backward pass instead of keeping them; default: keep. */
  readonly checkpointActivations?: boolean;
}
