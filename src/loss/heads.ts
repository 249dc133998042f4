/**
 * Several heads of one model: `loss`, `valid`, `invalid_labels` and `finite` are totals, and each head has its own
 * outputs under its name. A single head has plain names.
 */

import type { GraphOutput, Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { usageError } from "../support/errors.ts";
import type { LossOutputs } from "./loss.ts";

export interface HeadLoss {
  /** Prefix of its outputs; not used for a single head. */
  readonly name: string;
  /** Factor of its loss in the total. */
  readonly weight: number;
  readonly outputs: LossOutputs;
}

export interface TotalLoss {
  /** All loss outputs by name, without `finite`. */
  readonly outputs: readonly GraphOutput[];
  /** bool scalar */
  readonly finite: Value;
  /** Per head: gradient of the total at its logits; undefined where none was asked for. */
  readonly gradients: readonly (Value | undefined)[];
}

/** Loss outputs under their names, in the order they are documented; `finite` is apart. */
function outputsOf(prefix: string, { loss, ce, lovasz, valid, kept, invalidLabels, threshold }: LossOutputs): GraphOutput[] {
  const values = { loss, ce, lovasz, valid, kept, invalid_labels: invalidLabels, threshold };
  return Object.entries(values).map(([name, value]) => ({ name: `${prefix}${name}`, value }));
}

/**
 * The weighted sum of the heads. A head whose gradient was made with its weight as `scale` costs nothing more.
 * @throws OhemgenError E010 for no head, or heads that share a name or have none.
 */
export function combineHeads(op: OpBuilder, heads: readonly HeadLoss[]): TotalLoss {
  const [first] = heads;
  if (first === undefined) throw usageError("a loss without a head", "Name at least one tensor of logits.", "E010");
  const gradients = heads.map(({ weight, outputs: { gradient, scale } }) => gradient && op.mul(gradient, weight / scale));
  if (heads.length === 1) {
    const [total] = first.weight === 1 ? [first.outputs.loss] : [op.mul(first.outputs.loss, first.weight)];
    return { outputs: outputsOf("", { ...first.outputs, loss: total }), finite: first.outputs.finite, gradients };
  }
  const names = heads.map(({ name }) => name);
  const twice = names.find((name, i) => name === "" || names.indexOf(name) !== i);
  if (twice !== undefined) throw usageError(`two heads, or one without a name, are called "${twice}"`, "Give each head a name of its own.", "E010");
  const each = heads.map(({ outputs }) => outputs);
  const loss = op.sum(heads.map(({ weight, outputs }) => op.mul(outputs.loss, weight)));
  const totals = {
    loss,
    valid: op.sum(each.map(({ valid }) => valid)),
    invalid_labels: op.sum(each.map(({ invalidLabels }) => invalidLabels)),
  };
  return {
    outputs: [...Object.entries(totals).map(([name, value]) => ({ name, value })), ...heads.flatMap(({ name, outputs }) => outputsOf(`${name}/`, outputs))],
    finite: each.map(({ finite }) => finite).reduce((a, b) => op.and(a, b)),
    gradients,
  };
}
