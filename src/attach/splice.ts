/**
 * What the graphs of every target have in common: the model, its loss and its backward pass in a graph of their own.
 * Where the weights are read from is the target's business.
 */

import { differentiate } from "../autodiff/engine.ts";
import type { GraphOutput, Value } from "../ir/graph.ts";
import { confusion } from "../loss/confusion.ts";
import { combineHeads, type TotalLoss } from "../loss/heads.ts";
import { ohemLovasz } from "../loss/loss.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { inline } from "../passes/inline.ts";
import type { Normalized } from "../passes/normalize.ts";
import { bug } from "../support/errors.ts";
import type { Plan } from "./plan.ts";

/** Values of the graph under construction that stand for tensors of the file. */
export interface Stored {
  /** Trained tensors in the order of the layout. */
  readonly weights: readonly Value[];
  /** Reads each of them once more, so that nothing keeps it between the two passes; default: what was read is kept. */
  readonly again?: readonly (() => Value)[];
  /** Running statistics in the order of the plan. */
  readonly statistics: readonly Value[];
}

export interface Spliced extends Stored {
  readonly op: OpBuilder;
  readonly labels: Value;
  /** What every value of the normalized model became. */
  readonly values: ReadonlyMap<Value, Value>;
  /** Per head. */
  readonly logits: readonly Value[];
}

/** The model in the graph of `op`, reading what is `stored`. */
export function splice(op: OpBuilder, plan: Plan, normalized: Normalized, stored: Stored): Spliced {
  const labels = op.input("labels", plan.labels.dtype, plan.labels.shape);
  const substitutes = new Map<Value, Value>(normalized.inputs.map((value) => [value, value]));
  const take = (value: Value, by: Value | undefined) =>
    substitutes.set(normalized.kept.get(value) ?? bug(`${value.name} was not kept`), by ?? bug(`nothing stands for ${value.name}`));
  for (const [i, { value }] of plan.layout.tensors.entries()) take(value, stored.weights[i]);
  for (const [i, { value }] of plan.statistics.entries()) take(value, stored.statistics[i]);
  const values = inline(op, normalized.nodes, substitutes, { cheaper: { ends: [...normalized.targets.values(), ...normalized.statistics.values()] } });
  const logits = plan.heads.map(({ source }) => values.get(normalized.targets.get(source) as Value) ?? bug("logits that were not built"));
  return { op, labels, values, logits, ...stored };
}

function totalLoss(plan: Plan, { op, logits, labels }: Spliced, gradient: boolean): TotalLoss {
  const heads = plan.heads.map((head, i) => {
    const scope = op.scope(head.name === "" ? "loss" : `loss/${head.name}`);
    return { name: head.name, weight: head.weight, outputs: ohemLovasz(scope, logits[i] as Value, labels, head.loss, { gradient, scale: head.weight }) };
  });
  return combineHeads(op.scope("loss"), heads);
}

/** Gradient of the total loss at every weight, in their order. */
function gradientsOf({ op, weights, again, logits }: Spliced, loss: TotalLoss, recompute: boolean): readonly Value[] {
  const forward = op.draft.tape();
  const seeds = new Map<Value, Value>();
  logits.forEach((value, i) => {
    const seed = loss.gradients[i] ?? bug("a head without a gradient");
    const known = seeds.get(value);
    seeds.set(value, known === undefined ? seed : op.add(known, seed));
  });
  const readAgain = new Map(weights.flatMap((weight, i) => (again?.[i] === undefined ? [] : [[weight, again[i]] as const])));
  // The logits are large, and the checks on them and the loss would be made last.
  const before = [op.cast(loss.finite, "float32"), ...loss.outputs.map(({ value }) => value)];
  const gradients = differentiate(op, forward, seeds, weights, { recompute, readAgain, before });
  return weights.map((weight) => gradients.get(weight) ?? op.scope("params.grad").filledLike(weight, 0));
}

export const lossOutputs = (loss: TotalLoss): GraphOutput[] => loss.outputs.map(({ name, value }) => ({ name, value }));

/** Forward pass, loss and backward pass, which several graphs share: each takes from it what its outputs need. */
export interface Backward extends Spliced {
  readonly loss: TotalLoss;
  readonly gradients: readonly Value[];
  /** The next running statistics, in their order. */
  readonly nextStatistics: readonly Value[];
}

/**
 * @param spliced of `plan.training`
 * @param observe told of the loss before the walk backwards begins
 */
export function backward(plan: Plan, spliced: Spliced, observe: (loss: TotalLoss) => void = () => {}): Backward {
  const loss = totalLoss(plan, spliced, true);
  observe(loss);
  const gradients = gradientsOf(spliced, loss, plan.checkpointActivations);
  const nextStatistics = plan.statistics.map(({ value }) => {
    const next = plan.training.statistics.get(value) ?? bug(`${value.name} is not updated`);
    return spliced.values.get(next) ?? next;
  });
  return { ...spliced, loss, gradients, nextStatistics };
}

/** Loss, confusion matrix and prediction without a gradient, as outputs. */
export function evaluation(plan: Plan, spliced: Spliced): GraphOutput[] {
  const { op, labels, logits } = spliced;
  const loss = totalLoss(plan, spliced, false);
  const [main] = plan.heads;
  const counted = confusion(op.scope("evaluation"), logits[0] as Value, labels, main?.loss ?? bug("no head"));
  return [
    ...lossOutputs(loss),
    { name: "finite", value: loss.finite },
    { name: "confusion", value: counted.confusion },
    { name: "prediction", value: counted.prediction },
  ];
}
