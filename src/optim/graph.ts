/** The optimizer as a graph of its own: gradient, learning rate and flat state vectors in, the next state out. */

import type { Dim } from "../ir/dims.ts";
import type { Model, Value } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import type { Provider } from "../ops/provider.ts";
import { bug } from "../support/errors.ts";
import { gradientVector } from "./gradient.ts";
import { type OptimizerSettings, stateNames } from "./options.ts";
import { optimizerStep, type UpdateGroup } from "./update.ts";

/** The state tensors as inputs, in the order of every file; `params` is among them where it is not given. */
export function stateInputs(op: OpBuilder, settings: OptimizerSettings, length: Dim, params?: Value): Record<string, Value> {
  const state: Record<string, Value> = { params: params ?? op.input("params", "float32", [length]) };
  for (const name of stateNames(settings)) {
    state[name] = name === "step" ? op.input("step", "int64", [1]) : op.input(name, "float32", [length]);
  }
  return state;
}

/** @param length of the flat vectors; a name is a size of the run */
export function updateModel(name: string, settings: OptimizerSettings, groups: readonly UpdateGroup[], length: Dim, provider?: Provider): Model {
  const op = new OpBuilder(provider);
  const gradient = op.input("params.grad", "float32", [length]);
  const learningRate = op.input("learning_rate", "float32", []);
  const state = stateInputs(op, settings, length);
  const optim = op.scope("optim");
  const { squares, finite } = gradientVector(optim, gradient);
  const update = optimizerStep(optim, settings, groups, { gradient: [gradient], squares, learningRate, state, finite });
  const next = Object.keys(state).map((key) => ({ name: `${key}.next`, value: update.state[key] ?? bug(`no ${key}`) }));
  const outputs = [...next, { name: "grad_norm", value: update.gradientNorm }, { name: "finite", value: finite }];
  return finishModel(op, name, [gradient, learningRate, ...Object.values(state)], outputs);
}
