/** The library: everything here runs without Node, also in a browser. */

export { type AttachResult, attach, unpack } from "./attach/attach.ts";
export { type GradientOptions, type GradientResult, gradientModel } from "./attach/gradient-model.ts";
export type { Manifest } from "./attach/manifest.ts";
export type { AttachOptions, HeadOptions, OptimizerOptions } from "./attach/options.ts";
export type { PhaseObserver } from "./attach/phases.ts";
export type { OrtTraining } from "./attach/targets/ort-training.ts";
export { trainedModel } from "./attach/trained-model.ts";
export { differentiate } from "./autodiff/engine.ts";
export type { Model, Node, Value } from "./ir/graph.ts";
export { type Tensor, tensorNumbers, tensorOf } from "./ir/tensor.ts";
export { type LossKind, lossModel } from "./loss/graph.ts";
export { type LossOutputs, ohemLovasz } from "./loss/loss.ts";
export { type LossOptions, presets, resolveLossOptions } from "./loss/options.ts";
export { OpBuilder } from "./ops/builder.ts";
export { normalize } from "./passes/normalize.ts";
export { encodeModel } from "./proto/encode.ts";
export { type DecodeOptions, loadModel } from "./proto/load.ts";
export { decodeOrtCheckpoint, encodeOrtCheckpoint } from "./proto/ort-checkpoint.ts";
export { decodeSafetensors, encodeSafetensors } from "./proto/safetensors.ts";
export { OhemgenError } from "./support/errors.ts";
export { version } from "./support/version.ts";
