/** `attach`: from a model and options to training graphs, initial state and manifest. Pure: no files, no clock. */

import { elementCount } from "../ir/dims.ts";
import type { Model, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { irVersion, targetOpset } from "../ops/finish.ts";
import { version } from "../support/version.ts";
import { classColours } from "./colours.ts";
import { type GraphName, trainingGraphs } from "./graphs.ts";
import { initialState, joinPieces, type TensorInPieces } from "./initial-state.ts";
import {
  type GraphInfo,
  type Manifest,
  manifestFormat,
  type OrtTrainingInfo,
  type StockGraphs,
  shapeInfo,
  type TensorInfo,
  type TensorRole,
} from "./manifest.ts";
import type { AttachOptions } from "./options.ts";
import type { PhaseObserver } from "./phases.ts";
import { type Plan, planTraining } from "./plan.ts";
import { requiredOperators, requiredOperatorsFile } from "./required-operators.ts";
import { type OrtTraining, ortTraining } from "./targets/ort-training.ts";

export interface AttachResult {
  /** Of target `stock`; where `ort-training` alone was asked for, built when first read. */
  readonly graphs: Readonly<Record<GraphName, Model>>;
  /** Initial state of the stock graphs by the name of its input; put together when first asked for. */
  readonly state: ReadonlyMap<string, Tensor>;
  /** The same as pieces of the model's own bytes: for writing it. */
  readonly stateInPieces: ReadonlyMap<string, TensorInPieces>;
  /** Graphs and tensors of target `ort-training`; null where it was not asked for. */
  readonly ortTraining: OrtTraining | null;
  /** Text of `required_operators.config` for the graphs of the target; null where it was not asked for. */
  readonly requiredOperators: string | null;
  /** All but what only the disk knows. */
  readonly manifest: Omit<Manifest, "source" | "fingerprint">;
}

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

const roles: Readonly<Record<string, TensorRole>> = {
  labels: "labels",
  learning_rate: "learning-rate",
  "params.grad": "gradient",
  finite: "check",
  grad_norm: "metric",
  confusion: "metric",
  prediction: "prediction",
};

function describe(name: string, value: Value, state: ReadonlySet<string>, inputs: ReadonlySet<Value>): TensorInfo {
  const stem = name.replace(/\.next$/, "");
  const role = state.has(stem) ? "state" : (roles[name] ?? (inputs.has(value) ? "image" : "loss"));
  return { name, role, type: value.dtype, shape: shapeInfo(value.shape) };
}

function graphInfo(file: string, model: Model, state: ReadonlySet<string>): GraphInfo {
  const inputs = new Set(model.graph.inputs);
  return {
    file,
    inputs: model.graph.inputs.map((value) => describe(value.name, value, state, inputs)),
    outputs: model.graph.outputs.map(({ name, value }) => describe(name, value, state, inputs)),
  };
}

function stockInfo(graphs: Readonly<Record<GraphName, Model>>, state: ReadonlySet<string>): StockGraphs {
  const info = (name: GraphName) => graphInfo(`${name}.onnx`, graphs[name], state);
  return { train_step: info("train_step"), gradient: info("gradient"), update: info("update"), eval_step: info("eval_step") };
}

function ortInfo(plan: Plan, { graphs }: OrtTraining, state: ReadonlySet<string>): OrtTrainingInfo {
  const outputs = (model: Model) => graphInfo("", model, state).outputs.filter(({ name }) => !name.endsWith("_grad.accumulation.out"));
  const labels = plan.training.inputs.length;
  return {
    runtime: "1.19.2",
    trainingModel: "training_model.onnx",
    evalModel: "eval_model.onnx",
    optimizerModel: "optimizer_model.onnx",
    checkpoint: "checkpoint",
    optimizer: plan.optimizer.kind === "adamw" ? "AdamWOptimizer" : "SGDOptimizerV2",
    userInputs: graphInfo("", graphs.training_model, state).inputs.slice(0, labels + 1),
    trainingOutputs: outputs(graphs.training_model),
    evalOutputs: outputs(graphs.eval_model),
  };
}

function stateInfo(state: ReadonlyMap<string, TensorInPieces>): TensorInfo[] {
  return [...state].map(([name, tensor]) => ({ name, role: "state", type: tensor.dtype, shape: [...tensor.dims] }));
}

function resolvedOptions(plan: Plan, options: AttachOptions): Record<string, unknown> {
  const { optimizer } = plan;
  return {
    logits: plan.heads[0]?.source.name,
    heads: plan.heads.map((head) => ({ name: head.name, logits: head.source.name, weight: head.weight, loss: head.loss })),
    provider: plan.provider,
    ...(plan.checkpointActivations ? { checkpointActivations: true } : {}),
    batchNorm: options.batchNorm ?? "frozen",
    target: options.target ?? "stock",
    labelType: plan.labels.dtype,
    labelSize: options.labelSize ?? "full",
    ...(options.inputShapes === undefined ? {} : { inputShapes: options.inputShapes }),
    ...(options.train === undefined ? {} : { train: options.train }),
    ...(options.freeze === undefined ? {} : { freeze: options.freeze }),
    ...(plan.untied === null ? {} : { untie: plan.untied.patterns }),
    ...(plan.resetHead === null ? {} : { resetHead: plan.resetHead.classes, seed: plan.resetHead.seed }),
    optimizer: { ...optimizer, weightDecay: plan.layout.groups.reduce((most, group) => Math.max(most, group.weightDecay), 0) },
  };
}

/**
 * Makes a model trainable.
 *
 * @param model as read from a file, any opset from 7 on
 * @param observe told of each phase that is done
 * @returns four graphs in standard ONNX operators at opset 18, the initial state and the manifest
 * @throws OhemgenError where the model or the options do not allow it, before anything is built
 */
export function attach(model: Model, options: AttachOptions = {}, observe?: PhaseObserver): AttachResult {
  const plan = planTraining(model, options);
  const target = options.target ?? "stock";
  let built = target === "ort-training" ? null : trainingGraphs(plan, observe);
  const stock = built;
  const training = target === "stock" ? null : ortTraining(plan);
  const state = initialState(plan);
  const names = new Set(state.keys());
  let whole: ReadonlyMap<string, Tensor> | undefined;
  return {
    get graphs() {
      built ??= trainingGraphs(plan);
      return built;
    },
    ortTraining: training,
    requiredOperators: options.requiredOperators ? requiredOperators([...Object.values(stock ?? {}), ...Object.values(training?.graphs ?? {})]) : null,
    get state() {
      whole ??= new Map([...state].map(([name, tensor]) => [name, joinPieces(tensor)]));
      return whole;
    },
    stateInPieces: state,
    manifest: {
      format: manifestFormat,
      options: resolvedOptions(plan, options),
      graphs: stock === null ? null : stockInfo(stock, names),
      requiredOperators: options.requiredOperators ? requiredOperatorsFile : null,
      ortTraining: training === null ? null : ortInfo(plan, training, names),
      state: stock === null ? [] : stateInfo(state),
      parameters: plan.layout.tensors.map(({ value, tensor, offset, length, group, decay }) => ({
        name: value.name,
        shape: [...tensor.dims],
        offset,
        length,
        group,
        decay,
      })),
      groups: plan.layout.groups,
      frozen: plan.choice.frozen.map(({ stored, reason }) => ({ name: stored.value.name, shape: [...stored.tensor.dims], reason })),
      runningStatistics: plan.statistics.map(({ value, offset, length }) => ({ name: value.name, offset, length })),
      heads: plan.heads.map((head) => ({ name: head.name, logits: head.source.name, weight: head.weight, classes: head.classes })),
      resetHead: plan.resetHead,
      untied: plan.untied,
      classNames: options.classNames ?? null,
      classColours: options.classColours ?? classColours(Math.max(2, plan.heads[0]?.classes ?? 0)),
      preprocessing: { mean: options.mean ?? imagenet.mean, std: options.std ?? imagenet.std, channelOrder: options.channelOrder ?? "rgb" },
      session: { enableMemPattern: false, executionMode: "sequential", graphOptimizationLevel: "all" },
      versions: { ohemgen: version, opset: targetOpset, irVersion },
    },
  };
}

/** Trained tensors read out of a flat vector, by name. */
export function unpack(manifest: Pick<Manifest, "parameters">, params: Float32Array): ReadonlyMap<string, Float32Array> {
  return new Map(manifest.parameters.map(({ name, offset, shape }) => [name, params.subarray(offset, offset + elementCount(shape))]));
}
