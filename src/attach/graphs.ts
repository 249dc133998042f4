/**
 * The training graphs of target `stock`: weights are slices of one vector `params`, the next state is an output.
 * Standard operators only.
 */

import type { GraphOutput, Model, Value } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { type Gradient, joined, joinedGradients } from "../optim/gradient.ts";
import { stateInputs, updateModel } from "../optim/graph.ts";
import { optimizerStep } from "../optim/update.ts";
import type { Normalized } from "../passes/normalize.ts";
import { correctConvolutions } from "../passes/webgpu-convolutions.ts";
import { bug } from "../support/errors.ts";
import { normalizedModel, type PhaseObserver } from "./phases.ts";
import type { Plan } from "./plan.ts";
import { type Backward, backward, evaluation, lossOutputs, type Spliced, splice } from "./splice.ts";
import type { PlacedTensor } from "./state.ts";

interface Vectors {
  readonly params: Value;
  readonly runningStats: Value | undefined;
}

type Started = Spliced & { readonly vectors: Vectors };

/** The model in a graph of its own, its weights read out of `params`. */
function start(plan: Plan, normalized: Normalized): Started {
  const op = new OpBuilder(plan.provider);
  const params = op.input("params", "float32", [plan.layout.length]);
  const length = plan.statistics.reduce((sum, statistic) => sum + statistic.length, 0);
  const runningStats = plan.statistics.length > 0 ? op.input("running_stats", "float32", [length]) : undefined;
  const at = ({ value }: PlacedTensor) => op.scope(`params/${value.name.replace(/^\/+/, "")}`);
  const weights = plan.layout.tensors.map((placed) => sliceOf(at(placed), params, placed.offset, placed.length, placed.tensor.dims));
  const again = plan.layout.tensors.map((placed) => () => sliceFromEnd(at(placed).scope("again"), params, placed, plan.layout.length));
  const statistics = plan.statistics.map(({ value, offset, length: count, initial }) =>
    sliceOf(op.scope(`running_stats/${value.name.replace(/^\/+/, "")}`), runningStats as Value, offset, count, initial.tensor.dims),
  );
  return { ...splice(op, plan, normalized, { weights, statistics, again }), vectors: { params, runningStats } };
}

/** Without its axes the runtime leaves a Slice what it is: of all slices with axes it makes one Split, whose pieces live as long as the last one. */
function sliceOf(op: OpBuilder, vector: Value, offset: number, length: number, dims: readonly number[]): Value {
  return op.reshape(op.emit("Slice", [vector, op.ints([offset]), op.ints([offset + length])]), dims);
}

/** The same numbers by other bounds: the runtime would merge two equal slices into one that lives from the first use to the last. */
function sliceFromEnd(op: OpBuilder, vector: Value, { offset, length, tensor }: PlacedTensor, whole: number): Value {
  const end = offset + length - whole;
  const slice = op.emit("Slice", [vector, op.ints([offset - whole]), op.ints([end === 0 ? Number.MAX_SAFE_INTEGER : end])]);
  return op.reshape(slice, tensor.dims);
}

type Packed = Backward & {
  readonly vectors: Vectors;
  /** In the order of `params`. */
  readonly gradient: Gradient;
  readonly nextRunningStats: Value | undefined;
};

function packed(plan: Plan, observe: PhaseObserver = () => {}): Packed {
  const started = start(plan, plan.training);
  const { op, labels, logits, vectors } = started;
  const read = [...plan.training.inputs, vectors.params, ...optional(vectors.runningStats)];
  const named = logits.map((value, i) => ({ name: plan.heads.length === 1 ? "logits" : `logits.${plan.heads[i]?.name}`, value }));
  observe("forward", () => finishModel(op, "forward", read, named));
  const built = backward(plan, started, (loss) => observe("loss", () => finishModel(op, "loss", [...read, labels], lossOutputs(loss))));
  const gradient = joinedGradients(started.op.scope("params.grad"), built.gradients);
  return { ...built, vectors: started.vectors, gradient, nextRunningStats: nextRunningStats(plan, built) };
}

function nextRunningStats({ statistics }: Plan, { op, nextStatistics }: Backward): Value | undefined {
  if (statistics.length === 0) return undefined;
  const at = op.scope("running_stats");
  return at.concat(
    statistics.map(({ length }, i) => at.reshape(nextStatistics[i] as Value, [length])),
    0,
  );
}

function optional(value: Value | undefined): readonly Value[] {
  return value === undefined ? [] : [value];
}

/** Everything in one graph: images, labels, learning rate and state in; losses and the next state out. */
export function trainStep(plan: Plan, built: Packed = packed(plan)): Model {
  const { op, labels, vectors, loss, gradient } = built;
  const optim = op.scope("optim");
  const finite = optim.and(loss.finite, gradient.finite);
  const learningRate = op.input("learning_rate", "float32", []);
  const state = stateInputs(op, plan.optimizer, plan.layout.length, vectors.params);
  const update = optimizerStep(optim, plan.optimizer, plan.layout.groups, {
    gradient: gradient.parts,
    squares: gradient.squares,
    learningRate,
    state,
    finite,
  });
  const names = Object.keys(state);
  const next: GraphOutput[] = names.map((name) => ({ name: `${name}.next`, value: update.state[name] ?? bug(`no ${name}`) }));
  if (built.nextRunningStats !== undefined && vectors.runningStats !== undefined) {
    next.push({ name: "running_stats.next", value: optim.where(finite, built.nextRunningStats, vectors.runningStats) });
  }
  const all = [...plan.training.inputs, labels, learningRate, ...Object.values(state), ...optional(vectors.runningStats)];
  const outputs = [...lossOutputs(loss), { name: "grad_norm", value: update.gradientNorm }, { name: "finite", value: finite }, ...next];
  return finishModel(op, "train_step", all, outputs);
}

function gradientGraph(plan: Plan, { op, labels, vectors, loss, gradient, nextRunningStats: next }: Packed): Model {
  const finite = op.and(loss.finite, gradient.finite);
  const outputs = [...lossOutputs(loss), { name: "finite", value: finite }, { name: "params.grad", value: joined(op.scope("params.grad"), gradient.parts) }];
  if (next !== undefined) outputs.push({ name: "running_stats.next", value: next });
  const all = [...plan.training.inputs, labels, vectors.params, ...optional(vectors.runningStats)];
  return finishModel(op, "gradient", all, outputs);
}

/** The optimizer alone: gradient, learning rate and state in, the next state out. */
export function updateGraph(plan: Pick<Plan, "optimizer" | "layout" | "provider">): Model {
  return updateModel("update", plan.optimizer, plan.layout.groups, plan.layout.length, plan.provider);
}

function evalStep(plan: Plan, started: Started): Model {
  const { op, labels, vectors } = started;
  const all = [...plan.evaluation.inputs, labels, vectors.params, ...optional(vectors.runningStats)];
  return finishModel(op, "eval_step", all, evaluation(plan, started));
}

export const graphNames = ["train_step", "gradient", "update", "eval_step"] as const;
export type GraphName = (typeof graphNames)[number];

/** All graphs of target `stock`; what they have in common is built once. */
export function trainingGraphs(plan: Plan, observe: PhaseObserver = () => {}): Readonly<Record<GraphName, Model>> {
  observe("normalized", () => normalizedModel(plan.training));
  const built = packed(plan, observe);
  const evaluated = plan.evaluation === plan.training ? built : start(plan, plan.evaluation);
  const written = plan.provider === "webgpu" ? correctConvolutions : (model: Model) => model;
  const graphs = {
    train_step: written(trainStep(plan, built)),
    gradient: written(gradientGraph(plan, built)),
    update: updateGraph(plan),
    eval_step: written(evalStep(plan, evaluated)),
  };
  for (const name of ["gradient", "train_step", "update", "eval_step"] as const) observe(name, () => graphs[name]);
  return graphs;
}
