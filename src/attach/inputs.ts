/** Inputs of the model: names that are taken, sizes asked for, where a picture keeps its height and width. */

import type { Dim, Shape } from "../ir/dims.ts";
import type { Model, Value } from "../ir/graph.ts";
import { OhemgenError, usageError } from "../support/errors.ts";

const reserved = new Set([
  "labels",
  "learning_rate",
  "params",
  "params.grad",
  "momentum",
  "exp_avg",
  "exp_avg_sq",
  "step",
  "running_stats",
  "ema",
  "loss",
  "ce",
  "lovasz",
  "valid",
  "kept",
  "invalid_labels",
  "threshold",
  "finite",
  "grad_norm",
  "confusion",
  "prediction",
]);

export function isReserved(name: string): boolean {
  return reserved.has(name) || name.endsWith(".next");
}

/** @throws OhemgenError E219 where an input of the model has a name the training graphs need */
export function checkInputs(model: Model): void {
  for (const { name } of model.graph.inputs) {
    if (!isReserved(name)) continue;
    throw new OhemgenError(`the model's input ${name} has a name that the training graphs need for themselves`, {
      code: "E219",
      where: name,
      hint: "Rename the input, for example with onnx.compose or when exporting.",
    });
  }
}

/** @throws OhemgenError on an input the model lacks, or another rank than it has */
export function inputShapes(model: Model, given: Readonly<Record<string, readonly (number | string)[]>> | undefined): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const [name, shape] of Object.entries(given ?? {})) {
    const input = model.graph.inputs.find((value) => value.name === name);
    if (input === undefined) {
      throw usageError(`--input-shape: the model has no input ${name}`, `Its inputs are: ${model.graph.inputs.map((value) => value.name).join(", ")}.`);
    }
    if (input.shape !== undefined && input.shape.length !== shape.length) {
      throw usageError(`--input-shape ${name}: ${shape.length} sizes for a tensor of rank ${input.shape.length}`);
    }
    shapes.set(name, shape);
  }
  return shapes;
}

/** Sizes of a picture `[N,C,H,W]`, or `[N,H,W,C]` where only the last axis can be the channels. */
export function imageSizes(image: Value): { batch: Dim; height: Dim; width: Dim } {
  const [batch, second, third, last] = image.shape as readonly [Dim, Dim, Dim, Dim];
  const channels = (dim: Dim) => dim === 1 || dim === 3 || dim === 4;
  if (channels(last) && !channels(second)) return { batch, height: second, width: third };
  return { batch, height: third, width: last };
}
