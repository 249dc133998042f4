/** The training graphs: the model, its loss, the backward pass and the optimizer, spliced together from a plan. */

import { differentiate } from "../autodiff/engine.ts";
import type { GraphOutput, Model, Value } from "../ir/graph.ts";
import { confusion } from "../loss/confusion.ts";
import { combineHeads, type TotalLoss } from "../loss/heads.ts";
import { ohemLovasz } from "../loss/loss.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { stateInputs, updateModel } from "../optim/graph.ts";
import { allFinite, optimizerStep } from "../optim/update.ts";
import { inline } from "../passes/inline.ts";
import type { Normalized } from "../passes/normalize.ts";
import { bug } from "../support/errors.ts";
import { normalizedModel, type PhaseObserver } from "./phases.ts";
import type { Plan } from "./plan.ts";

interface Inputs {
  readonly params: Value;
  readonly statistics: Value | undefined;
  readonly labels: Value;
}

interface Started {
  readonly op: OpBuilder;
  readonly inputs: Inputs;
  /** What every value of the normalized model became. */
  readonly values: ReadonlyMap<Value, Value>;
  /** Trained tensors in the order of the flat vector, in this graph. */
  readonly weights: readonly Value[];
  readonly logits: readonly Value[];
}

/** The model in a graph of its own, its weights read out of `params`. */
function start(plan: Plan, normalized: Normalized): Started {
  const op = new OpBuilder(plan.provider);
  const params = op.input("params", "float32", [plan.layout.length]);
  const length = plan.statistics.reduce((sum, statistic) => sum + statistic.length, 0);
  const statistics = plan.statistics.length > 0 ? op.input("running_stats", "float32", [length]) : undefined;
  const labels = op.input("labels", plan.labels.dtype, plan.labels.shape);
  const substitutes = new Map<Value, Value>(normalized.inputs.map((value) => [value, value]));
  const weights = plan.layout.tensors.map(({ value, tensor, offset, length: count }) => {
    const weight = sliceOf(op.scope(`params/${value.name.replace(/^\/+/, "")}`), params, offset, count, tensor.dims);
    substitutes.set(normalized.kept.get(value) ?? bug(`${value.name} was not kept`), weight);
    return weight;
  });
  for (const { value, offset, length: count, initial } of plan.statistics) {
    const at = op.scope(`running_stats/${value.name.replace(/^\/+/, "")}`);
    substitutes.set(normalized.kept.get(value) ?? bug(`${value.name} was not kept`), sliceOf(at, statistics as Value, offset, count, initial.tensor.dims));
  }
  const values = inline(op, normalized.nodes, substitutes, { cheaper: { ends: [...normalized.targets.values(), ...normalized.statistics.values()] } });
  const logits = plan.heads.map(({ source }) => values.get(normalized.targets.get(source) as Value) ?? bug("logits that were not built"));
  return { op, inputs: { params, statistics, labels }, values, weights, logits };
}

function sliceOf(op: OpBuilder, vector: Value, offset: number, length: number, dims: readonly number[]): Value {
  return op.reshape(op.slice(vector, [{ axis: 0, start: offset, end: offset + length }]), dims);
}

function totalLoss(plan: Plan, started: Started, gradient: boolean): TotalLoss {
  const { op, logits, inputs } = started;
  const heads = plan.heads.map((head, i) => {
    const scope = op.scope(head.name === "" ? "loss" : `loss/${head.name}`);
    return { name: head.name, weight: head.weight, outputs: ohemLovasz(scope, logits[i] as Value, inputs.labels, head.loss, { gradient, scale: head.weight }) };
  });
  return combineHeads(op.scope("loss"), heads);
}

/** Gradient of the total loss in one flat vector, in the order of `params`. */
function flatGradient(started: Started, loss: TotalLoss, recompute: boolean): Value {
  const { op, weights, logits } = started;
  const forward = op.draft.tape();
  const seeds = new Map<Value, Value>();
  logits.forEach((value, i) => {
    const seed = loss.gradients[i] ?? bug("a head without a gradient");
    const known = seeds.get(value);
    seeds.set(value, known === undefined ? seed : op.add(known, seed));
  });
  const gradients = differentiate(op, forward, seeds, weights, { recompute });
  const pack = op.scope("params.grad");
  const parts = weights.map((weight) => pack.reshape(gradients.get(weight) ?? pack.filledLike(weight, 0), [-1]));
  return pack.concat(parts, 0);
}

function nextStatistics(plan: Plan, started: Started): Value | undefined {
  if (plan.statistics.length === 0) return undefined;
  const { op, values } = started;
  const at = op.scope("running_stats");
  const parts = plan.statistics.map(({ value, length }) => {
    const next = plan.training.statistics.get(value) ?? bug(`${value.name} is not updated`);
    return at.reshape(values.get(next) ?? next, [length]);
  });
  return at.concat(parts, 0);
}

const lossOutputs = (loss: TotalLoss): GraphOutput[] => loss.outputs.map(({ name, value }) => ({ name, value }));

/** Forward pass, loss and backward pass, which several graphs share: each takes from it what its outputs need. */
interface Backward extends Started {
  readonly loss: TotalLoss;
  readonly gradient: Value;
  /** The next running statistics, with batch statistics only. */
  readonly nextStatistics: Value | undefined;
}

function backward(plan: Plan, observe: PhaseObserver = () => {}): Backward {
  const started = start(plan, plan.training);
  const { op, inputs, logits } = started;
  const read = [...plan.training.inputs, inputs.params, ...optional(inputs.statistics)];
  const named = logits.map((value, i) => ({ name: plan.heads.length === 1 ? "logits" : `logits.${plan.heads[i]?.name}`, value }));
  observe("forward", () => finishModel(op, "forward", read, named));
  const loss = totalLoss(plan, started, true);
  observe("loss", () => finishModel(op, "loss", [...read, inputs.labels], lossOutputs(loss)));
  const gradient = flatGradient(started, loss, plan.checkpointActivations);
  return { ...started, loss, gradient, nextStatistics: nextStatistics(plan, started) };
}

function optional(value: Value | undefined): readonly Value[] {
  return value === undefined ? [] : [value];
}

/** Everything in one graph: images, labels, learning rate and state in; losses and the next state out. */
export function trainStep(plan: Plan, built: Backward = backward(plan)): Model {
  const { op, inputs, loss, gradient } = built;
  const optim = op.scope("optim");
  const finite = optim.and(loss.finite, allFinite(optim, gradient));
  const learningRate = op.input("learning_rate", "float32", []);
  const state = stateInputs(op, plan.optimizer, plan.layout.length, inputs.params);
  const update = optimizerStep(optim, plan.optimizer, plan.layout.groups, { gradient, learningRate, state, finite });
  const names = Object.keys(state);
  const next: GraphOutput[] = names.map((name) => ({ name: `${name}.next`, value: update.state[name] ?? bug(`no ${name}`) }));
  if (built.nextStatistics !== undefined && inputs.statistics !== undefined) {
    next.push({ name: "running_stats.next", value: optim.where(finite, built.nextStatistics, inputs.statistics) });
  }
  const all = [...plan.training.inputs, inputs.labels, learningRate, ...Object.values(state), ...optional(inputs.statistics)];
  const outputs = [...lossOutputs(loss), { name: "grad_norm", value: update.gradientNorm }, { name: "finite", value: finite }, ...next];
  return finishModel(op, "train_step", all, outputs);
}

function gradientGraph(plan: Plan, { op, inputs, loss, gradient, nextStatistics: next }: Backward): Model {
  const finite = op.and(loss.finite, allFinite(op.scope("params.grad"), gradient));
  const outputs = [...lossOutputs(loss), { name: "finite", value: finite }, { name: "params.grad", value: gradient }];
  if (next !== undefined) outputs.push({ name: "running_stats.next", value: next });
  const all = [...plan.training.inputs, inputs.labels, inputs.params, ...optional(inputs.statistics)];
  return finishModel(op, "gradient", all, outputs);
}

/** The optimizer alone: gradient, learning rate and state in, the next state out. */
export function updateGraph(plan: Pick<Plan, "optimizer" | "layout">): Model {
  return updateModel("update", plan.optimizer, plan.layout.groups, plan.layout.length);
}

function evalStep(plan: Plan, started: Started): Model {
  const { op, inputs, logits } = started;
  const loss = totalLoss(plan, started, false);
  const [main] = plan.heads;
  const counted = confusion(op.scope("evaluation"), logits[0] as Value, inputs.labels, main?.loss ?? bug("no head"));
  const outputs = [
    ...lossOutputs(loss),
    { name: "finite", value: loss.finite },
    { name: "confusion", value: counted.confusion },
    { name: "prediction", value: counted.prediction },
  ];
  const all = [...plan.evaluation.inputs, inputs.labels, inputs.params, ...optional(inputs.statistics)];
  return finishModel(op, "eval_step", all, outputs);
}

export type GraphName = "train_step" | "gradient" | "update" | "eval_step";

/** All graphs of target `stock`; what they have in common is built once. */
export function trainingGraphs(plan: Plan, observe: PhaseObserver = () => {}): Readonly<Record<GraphName, Model>> {
  observe("normalized", () => normalizedModel(plan.training));
  const built = backward(plan, observe);
  const evaluated = plan.evaluation === plan.training ? built : start(plan, plan.evaluation);
  const graphs = { train_step: trainStep(plan, built), gradient: gradientGraph(plan, built), update: updateGraph(plan), eval_step: evalStep(plan, evaluated) };
  for (const name of ["gradient", "train_step", "update", "eval_step"] as const) observe(name, () => graphs[name]);
  return graphs;
}
