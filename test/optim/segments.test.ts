/** Vectors of more than eight million elements are updated piece by piece, groups and all: the same numbers. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { updateModel } from "../../src/optim/graph.ts";
import { resolveOptimizer } from "../../src/optim/options.ts";
import { floats, openSession } from "../run-graph.ts";

const sizes = [5_000_003, 4_000_001] as const;
const length = sizes[0] + sizes[1];
const settings = resolveOptimizer({ kind: "sgd", momentum: 0.5, ema: 0.75 });
const groups = [
  { learningRateFactor: 1, weightDecay: 0, length: sizes[0] },
  { learningRateFactor: 0.25, weightDecay: 0.125, length: sizes[1] },
];

/** Numbers with few digits: every operation on them is exact in float32. */
const vector = (seed: number) => Float32Array.from({ length }, (_, i) => ((i * seed) % 31) - 15);

test.each(["any", "cpu"] as const)("for %s", { timeout: 60_000 }, async (provider) => {
  const model = updateModel("update", settings, groups, length, provider);
  const branches = model.graph.nodes.filter(({ op }) => op === "If").flatMap(({ attributes }) => Object.values(attributes));
  const scope = branches.flatMap((attribute) => (attribute.type === "graph" ? attribute.value.nodes : []));
  // Two pieces of the first group and one of the second, for each of params, momentum and ema.
  expect([...model.graph.nodes, ...scope].filter(({ op, outputs }) => op === "Concat" && outputs[0]?.shape?.[0] === length)).toHaveLength(3);
  const session = await openSession(model);
  const [params, momentum, ema, gradient] = [3, 5, 7, 11].map(vector) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const tensor = (data: Float32Array) => new ort.Tensor("float32", data, [length]);
  const out = await session.run({
    params: tensor(params),
    momentum: tensor(momentum),
    ema: tensor(ema),
    step: new ort.Tensor("int64", new BigInt64Array(1), [1]),
    "params.grad": tensor(gradient),
    learning_rate: new ort.Tensor("float32", Float32Array.of(0.5), []),
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
});
