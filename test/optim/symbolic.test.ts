/** An update graph for vectors of any length gives what the graph of that length gives; sums of squares differ in their last digits. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { updateModel } from "../../src/optim/graph.ts";
import { type OptimizerArguments, resolveOptimizer, stateNames } from "../../src/optim/options.ts";
import { openSession } from "../run-graph.ts";

const group = { learningRateFactor: 1, weightDecay: 0.01 };

test.each([[{ kind: "sgd", nesterov: true, clipNorm: 1 }], [{ kind: "adamw", ema: 0.9 }]] satisfies [OptimizerArguments][])("%j", async (options) => {
  const settings = resolveOptimizer(options);
  const any = await openSession(updateModel("any", settings, [group], "P"));
  for (const length of [1, 5, 1023, 1024, 1025, 5000]) {
    const fixed = await openSession(updateModel("fixed", settings, [group], length));
    const vector = (seed: number) =>
      new ort.Tensor(
        "float32",
        Float32Array.from({ length }, (_, i) => Math.sin(seed * (i + 1)) ** 2),
        [length],
      );
    const state = Object.fromEntries(stateNames(settings).map((name, i) => [name, name === "step" ? new ort.Tensor("int64", [3n], [1]) : vector(i + 3)]));
    const feeds = { "params.grad": vector(1), params: vector(2), learning_rate: new ort.Tensor("float32", [0.1], []), ...state };
    const [a, b] = [await any.run(feeds), await fixed.run(feeds)];
    for (const name of fixed.outputNames) {
      const want = Array.from(b[name]?.data as ArrayLike<number>, Number);
      const got = Array.from(a[name]?.data as ArrayLike<number>, Number);
      expect(got.length).toBe(want.length);
      const worst = want.reduce((most, value, i) => Math.max(most, Math.abs(value - (got[i] ?? Number.NaN)) / Math.max(1, Math.abs(value))), 0);
      expect(worst, `${name} of ${length}`).toBeLessThan(1e-6);
    }
    await fixed.release();
  }
  await any.release();
});
