/**
 * Target `ort-training`: graphs and checkpoint for the on-device training API of ONNX Runtime 1.19.2. Every trained
 * tensor and running statistic is an input under its own name; the nodes of loss and backward pass are those of `stock`.
 */

import type { GraphOutput, Model, Value } from "../../ir/graph.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../ir/tensor.ts";
import { OpBuilder } from "../../ops/builder.ts";
import { finishModel, runtimeDomain } from "../../ops/finish.ts";
import { elementsFinite } from "../../optim/gradient.ts";
import type { Normalized } from "../../passes/normalize.ts";
import { OhemgenError } from "../../support/errors.ts";
import type { Plan } from "../plan.ts";
import { backward, evaluation, lossOutputs, type Stored, splice } from "../splice.ts";
import { accumulated, checkOptimizer, optimizerModel } from "./ort-optimizer.ts";

export const ortGraphNames = ["training_model", "eval_model", "optimizer_model"] as const;
export type OrtGraphName = (typeof ortGraphNames)[number];

/** Tensors of the checkpoint, by their names in the file. */
export interface OrtTensors {
  readonly trained: ReadonlyMap<string, Tensor>;
  readonly frozen: ReadonlyMap<string, Tensor>;
}

export interface OrtTraining {
  readonly graphs: Readonly<Record<OrtGraphName, Model>>;
  readonly tensors: OrtTensors;
}

/** The runtime tells inputs apart by their names alone. */
const gradientName = /_grad(\.accumulation\.(buffer|out))?$/;
const resetName = "lazy_reset_grad";

function checkNames(plan: Plan, outputs: readonly GraphOutput[]): void {
  const taken = new Set(["labels", resetName, ...outputs.map(({ name }) => name)]);
  const stored = [...plan.layout.tensors, ...plan.statistics].map(({ value }) => value.name);
  const inputs = plan.training.inputs.map(({ name }) => name);
  const bad = stored.find((name) => taken.has(name)) ?? inputs.find((name) => name === resetName || gradientName.test(name));
  if (bad === undefined) return;
  throw new OhemgenError(`${bad} has a name that target ort-training needs for itself`, {
    code: "E219",
    where: bad,
    hint: "Rename it when exporting, or use --target stock.",
  });
}

function storedInputs(op: OpBuilder, plan: Plan): Stored {
  return {
    weights: plan.layout.tensors.map(({ value, tensor }) => op.input(value.name, "float32", tensor.dims)),
    statistics: plan.statistics.map(({ value, initial }) => op.input(value.name, "float32", initial.tensor.dims)),
  };
}

function accumulate(op: OpBuilder, inputs: readonly Value[]): Value {
  return op.append("InPlaceAccumulatorV2", runtimeDomain, inputs, {}, [{ dtype: "bool", shape: [1] }]).outputs[0] as Value;
}

function trainingModel(plan: Plan): Model {
  const op = new OpBuilder(plan.provider);
  const stored = storedInputs(op, plan);
  const { labels, loss, gradients, nextStatistics } = backward(plan, splice(op, plan, plan.training, stored));
  const reset = op.input(resetName, "bool", [1]);
  const checks = gradients.map((gradient) => elementsFinite(op.scope("finite"), gradient));
  const finite = checks.reduce((a, b) => op.scope("finite").and(a, b), loss.finite);
  const buffers: Value[] = [];
  const updates: GraphOutput[] = plan.layout.tensors.map(({ value: { name }, tensor, group }, i) => {
    const at = op.scope(`optim/${name.replace(/^\/+/, "")}`);
    const buffer = op.input(`${name}_grad.accumulation.buffer`, "float32", tensor.dims);
    buffers.push(buffer);
    const given = { weight: stored.weights[i] as Value, buffer, gradient: gradients[i] as Value, finite, reset };
    const { value, overwrite } = accumulated(at, plan, plan.layout.groups[group], given);
    return { name: `${name}_grad.accumulation.out`, value: accumulate(at, [buffer, value, overwrite]) };
  });
  const always = op.constant(tensorOf("bool", [1], [1]));
  plan.statistics.forEach(({ value: { name } }, i) => {
    const statistic = stored.statistics[i] as Value;
    const at = op.scope(`running_stats/${name.replace(/^\/+/, "")}`);
    // Outputs of this name are not handed to the user.
    const next = at.where(finite, nextStatistics[i] as Value, statistic);
    updates.push({ name: `${name}_grad.accumulation.out`, value: accumulate(at, [statistic, next, always]) });
  });
  const outputs = [...lossOutputs(loss), { name: "finite", value: finite }];
  checkNames(plan, outputs);
  const inputs = [...plan.training.inputs, labels, ...stored.weights, ...stored.statistics, ...buffers, reset];
  return finishModel(op, "training_model", inputs, [...outputs, ...updates]);
}

/** Fed by position: tensors in the order of the training model. */
function evalModel(plan: Plan, normalized: Normalized): Model {
  const op = new OpBuilder(plan.provider);
  const stored = storedInputs(op, plan);
  const spliced = splice(op, plan, normalized, stored);
  const outputs = evaluation(plan, spliced);
  checkNames(plan, outputs);
  return finishModel(op, "eval_model", [...normalized.inputs, spliced.labels, ...stored.weights, ...stored.statistics], outputs);
}

const inSingle = (tensor: Tensor): Tensor => (tensor.dtype === "float32" ? tensor : tensorOf("float32", tensor.dims, tensorNumbers(tensor)));

/** @throws OhemgenError E250 for an optimizer that runtime does not have, E219 for names it needs */
export function ortTraining(plan: Plan): OrtTraining {
  checkOptimizer(plan);
  return {
    graphs: { training_model: trainingModel(plan), eval_model: evalModel(plan, plan.evaluation), optimizer_model: optimizerModel(plan) },
    tensors: {
      trained: new Map(plan.layout.tensors.map(({ value, tensor }) => [value.name, inSingle(tensor)])),
      frozen: new Map(plan.statistics.map(({ value, initial }) => [value.name, inSingle(initial.tensor)])),
    },
  };
}
