/**
 * The work of a step grows with pixels and batch no faster than they do. Counted, not timed: products by their
 * multiplications, everything else by the elements it reads and writes.
 */

import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Graph, Node, Value } from "../../src/ir/graph.ts";
import { availableModels } from "../models.ts";
import { readModel, readReference } from "./reference.ts";

const size = (value: Value | undefined): number => (value?.shape ?? []).reduce<number>((count, dim) => count * Number(dim), value ? 1 : 0);
const total = (values: Node["inputs"]): number => values.reduce((sum, value) => sum + size(value), 0);

/** These read no more than they write. */
const selections = new Set(["Gather", "GatherElements", "Slice", "Split"]);

function workOf({ nodes }: Graph): number {
  const kernel = (weight: Value | undefined) => (weight?.shape ?? []).slice(1).reduce<number>((a, b) => a * Number(b), 1);
  return nodes.reduce((work, { op, inputs, outputs }) => {
    const moved = (selections.has(op) ? total(outputs) : total(inputs)) + total(outputs);
    if (op === "Conv") return work + moved + total(outputs) * kernel(inputs[1]);
    if (op === "ConvTranspose") return work + moved + size(inputs[0]) * kernel(inputs[1]);
    if (op === "MatMul") return work + moved + total(outputs) * Number(inputs[0]?.shape?.at(-1) ?? 1);
    return work + moved;
  }, 0);
}

/** Work of a step at a batch and a multiple of the file's pixels. Nothing is ranked: that leaves no size to the run. */
function stepWork(dir: string, batch: number, taller: number): number {
  const model = readModel(dir);
  const { logits } = readReference(dir);
  const [input] = model.graph.inputs as [Value];
  const [, channels, height, width] = input.shape as (number | string)[];
  const pixels = (dim: number | string | undefined) => (typeof dim === "number" ? dim : 64);
  const options = {
    inputShapes: { [input.name]: [batch, Number(channels), taller * pixels(height), pixels(width)] },
    loss: { ce: { mining: "off" }, lovasz: { method: "histogram" } },
  } as const;
  const { graphs } = attach(model, model.graph.outputs.length > 1 ? { logits, ...options } : options);
  return workOf(graphs.train_step?.graph as Graph);
}

/** Attention is quadratic in the pixels by itself, and hinge errors are ranked, in as many pixels as the run finds. */
const models = availableModels().filter(({ dir }) => !/segformer|binary/.test(dir));

/** These hold sizes in constants: they take no other pictures. */
const fixedSize = /deeplabv3plus|lraspp/;

test.each(models)("$name: work follows batch and pixels", ({ dir }) => {
  const base = stepWork(dir, 1, 1);
  const sizes: readonly (readonly [batch: number, taller: number])[] = [
    [2, 1],
    [4, 1],
    ...(fixedSize.test(dir)
      ? []
      : ([
          [1, 2],
          [1, 4],
        ] as const)),
  ];
  for (const [batch, taller] of sizes) {
    // 1 % for pyramids that end in one pixel.
    expect(stepWork(dir, batch, taller) / base, `batch ${batch}, ${taller} × the pixels`).toBeLessThan(1.01 * batch * taller);
  }
});
