/** More than eight million elements are updated in segments, groups and all: the same numbers. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { joinedGradients } from "../../src/optim/gradient.ts";
import { stateInputs, updateModel } from "../../src/optim/graph.ts";
import { resolveOptimizer } from "../../src/optim/options.ts";
import { optimizerStep } from "../../src/optim/update.ts";
import { floats, openSession } from "../run-graph.ts";

const sizes = [8_600_003, 4_000_001] as const;
const length = sizes[0] + sizes[1];
const settings = resolveOptimizer({ kind: "sgd", momentum: 0.5, ema: 0.75 });
const groups = [
  { learningRateFactor: 1, weightDecay: 0, length: sizes[0] },
  { learningRateFactor: 0.25, weightDecay: 0.125, length: sizes[1] },
];

/** Numbers with few digits: every operation on them is exact in float32. */
const vector = (seed: number) => Float32Array.from({ length }, (_, i) => ((i * seed) % 31) - 15);

/** Of all nodes, those of branches too. */
function nodesOf(nodes: readonly Node[]): readonly Node[] {
  return nodes.flatMap((node) => [
    node,
    ...Object.values(node.attributes).flatMap((attribute) => (attribute.type === "graph" ? nodesOf(attribute.value.nodes) : [])),
  ]);
}

async function expectUpdate(model: Model, feeds: (gradient: Float32Array) => Record<string, ort.Tensor>) {
  const session = await openSession(model);
  const [params, momentum, ema, gradient] = [3, 5, 7, 11].map(vector) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const tensor = (data: Float32Array) => new ort.Tensor("float32", data, [length]);
  const out = await session.run({
    params: tensor(params),
    momentum: tensor(momentum),
    ema: tensor(ema),
    step: new ort.Tensor("int64", new BigInt64Array(1), [1]),
    learning_rate: new ort.Tensor("float32", Float32Array.of(0.5), []),
    ...feeds(gradient),
  });
  const next = { params: floats(out["params.next"]), momentum: floats(out["momentum.next"]), ema: floats(out["ema.next"]) };
  let wrong = 0;
  for (let i = 0; i < length; i++) {
    const [factor, decay] = i < sizes[0] ? [1, 0] : [0.25, 0.125];
    const [p, m, e, g] = [params[i], momentum[i], ema[i], gradient[i]] as [number, number, number, number];
    const buffer = 0.5 * m + g + decay * p;
    const moved = p - 0.5 * factor * buffer;
    if (next.momentum[i] !== buffer || next.params[i] !== moved || next.ema[i] !== 0.75 * e + 0.25 * moved) wrong++;
  }
  expect(wrong).toBe(0);
  await session.release();
}

const joins = (model: Model) => nodesOf(model.graph.nodes).filter(({ op, outputs }) => op === "Concat" && outputs[0]?.shape?.[0] === length);

test.each(["any", "cpu"] as const)("a gradient in one vector, for %s", { timeout: 60_000 }, async (provider) => {
  const model = updateModel("update", settings, groups, length, provider);
  // Of params, momentum and ema.
  expect(joins(model)).toHaveLength(3);
  await expectUpdate(model, (gradient) => ({ "params.grad": new ort.Tensor("float32", gradient, [length]) }));
});

test.each(["any", "cpu"] as const)("a gradient in tensors, short and long ones, for %s", { timeout: 60_000 }, async (provider) => {
  // Of the first group, one longer than two segments; small ones that share a segment; one behind the end of a group.
  const shapes = [[100, 1000], [8400, 1000], [3], [100, 1000], [4000, 1000], [1]];
  const lengths = shapes.map(elementCount);
  const op = new OpBuilder(provider);
  const tensors = shapes.map((shape, i) => op.input(`g${i}`, "float32", shape));
  const learningRate = op.input("learning_rate", "float32", []);
  const state = stateInputs(op, settings, length);
  const { parts, squares, finite } = joinedGradients(op, tensors);
  const update = optimizerStep(op, settings, groups, { gradient: parts, squares, learningRate, state, finite });
  const outputs = Object.keys(state).map((name) => ({ name: `${name}.next`, value: update.state[name] as Value }));
  const model = finishModel(op, "update", [...tensors, learningRate, ...Object.values(state)], outputs);
  // Of params, momentum and ema; and of the gradient for `finite`, on the CPU only where its norm is not.
  expect(joins(model)).toHaveLength(4);
  await expectUpdate(model, (gradient) => {
    const begins = lengths.map((_, i) => lengths.slice(0, i).reduce((sum, count) => sum + count, 0));
    return Object.fromEntries(
      lengths.map((count, i) => [`g${i}`, new ort.Tensor("float32", gradient.slice(begins[i], (begins[i] as number) + count), shapes[i] as number[])]),
    );
  });
});
