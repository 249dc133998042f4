/**
 * Memory of a training step, from the step's own graph: its nodes run in order, tensors freed after their last reader.
 * Weights, optimizer state and batch come on top; buffers inside operators do not.
 */

import { isStatic } from "../ir/dims.ts";
import type { Model } from "../ir/graph.ts";
import { trainStep } from "./graphs.ts";
import { memoryOf } from "./memory.ts";
import type { AttachOptions } from "./options.ts";
import { planTraining } from "./plan.ts";

export interface StepEstimate {
  /** Sizes the estimate is for; dynamic ones are assumed. */
  readonly inputShapes: Readonly<Record<string, readonly (number | string)[]>>;
  readonly assumed: boolean;
  readonly nodes: number;
  /** Bytes of the trained weights. */
  readonly weights: number;
  /** Bytes of all state that goes in (weights, momentum …), and again comes out. */
  readonly state: number;
  /** Picture and labels. */
  readonly batch: number;
  /** Activations, gradients and the next state at the fullest moment. */
  readonly peak: number;
}

/** One picture of 512 × 512 where the file leaves sizes open. */
function assumedShape(shape: readonly (number | string)[]): readonly (number | string)[] {
  const [batch, channels, height, width] = [1, 3, 512, 512];
  const sizes = shape.length === 4 ? (shape[3] === 3 ? [batch, height, width, channels] : [batch, channels, height, width]) : shape.map(() => 1);
  return shape.map((dim, i) => (typeof dim === "number" ? dim : (sizes[i] as number)));
}

/** @throws OhemgenError where the model cannot be trained */
export function estimateStep(model: Model, options: AttachOptions): StepEstimate {
  const shapes = Object.fromEntries(
    model.graph.inputs.flatMap(({ name, shape }) => {
      const own = options.inputShapes?.[name] ?? shape;
      return own === undefined ? [] : [[name, own] as const];
    }),
  );
  const assumed = Object.values(shapes).some((shape) => !isStatic(shape));
  const fixed = assumed ? Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, assumedShape(shape)])) : shapes;
  const plan = planTraining(model, { ...options, ...(assumed ? { inputShapes: fixed } : {}) });
  const step = trainStep(plan);
  const memory = memoryOf(step);
  const weights = 4 * plan.layout.length;
  const outputs = new Set(step.graph.outputs.map(({ name }) => name));
  const state = step.graph.inputs
    .filter(({ name }) => outputs.has(`${name}.next`))
    .reduce((sum, { dtype, shape }) => sum + (isStatic(shape) ? shape.reduce((a, b) => a * b, 1) * (dtype === "int64" ? 8 : 4) : 0), 0);
  return { inputShapes: fixed, assumed, nodes: step.graph.nodes.length, weights, state, batch: memory.inputs - state, peak: memory.peak + memory.constants };
}
