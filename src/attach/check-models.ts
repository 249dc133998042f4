/** The two graphs a gradient check runs: logits of the network, and their gradient; weights are inputs of both. */

import type { Shape } from "../ir/dims.ts";
import type { Model, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { gradientModels } from "./gradient-model.ts";
import type { AttachOptions } from "./options.ts";
import { planTraining } from "./plan.ts";

export interface CheckedTensor {
  readonly name: string;
  readonly role: string;
  readonly tensor: Tensor;
}

export interface CheckModels {
  readonly of: string;
  readonly forward: Model;
  readonly backward: Model;
  readonly trained: readonly CheckedTensor[];
  /** Inputs of the model with the sizes a check feeds. */
  readonly inputs: readonly { readonly name: string; readonly dtype: Value["dtype"]; readonly dims: readonly number[] }[];
}

/** Dynamic sizes become small ones: one picture of 64 × 64. */
function concrete(shape: Shape): readonly number[] {
  const sizes = shape.length === 4 ? (shape[3] === 3 ? [1, 64, 64, 3] : [1, 3, 64, 64]) : shape.map(() => 1);
  return shape.map((dim, i) => (typeof dim === "number" ? dim : (sizes[i] as number)));
}

/** @throws OhemgenError where the model cannot be trained */
export function checkModels(model: Model, options: AttachOptions): CheckModels {
  const plan = planTraining(model, options);
  const of = plan.heads[0]?.source.name ?? "";
  const trained = plan.choice.trained.map(({ value, tensor, role }) => ({ name: value.name, role, tensor }));
  const gradient = { of, wrt: trained.map(({ name }) => name), ...(options.inputShapes === undefined ? {} : { inputShapes: options.inputShapes }) };
  // A fresh head has other sizes than the file's, and what was untied has tensors of its own.
  const { forward, model: backward } = gradientModels(plan.resetHead === null && plan.untied === null ? model : plan.model, gradient, true);
  const own = new Set(model.graph.inputs.map(({ name }) => name));
  const inputs = forward.graph.inputs.flatMap(({ name, dtype, shape }) => (own.has(name) ? [{ name, dtype, dims: concrete(shape ?? []) }] : []));
  return { of, forward, backward, trained, inputs };
}
