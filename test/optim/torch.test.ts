/** The update graph alone against torch.optim in float64, over several steps of random gradients. */

import * as ort from "onnxruntime-node";
import { beforeAll, describe, expect, test } from "vitest";
import { updateGraph } from "../../src/attach/graphs.ts";
import type { Provider } from "../../src/ops/provider.ts";
import { type OptimizerArguments, type ParameterGroup, resolveOptimizer, stateNames } from "../../src/optim/options.ts";
import { havePython, pythonJson, pythonTest } from "../python.ts";
import { floats, number, openSession } from "../run-graph.ts";

const length = 3000;
const rate = 0.05;

function randomVector(seed: number, scale = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

function groupsOf(weightDecay: number, factors: readonly number[]): ParameterGroup[] {
  const size = length / factors.length;
  return factors.map((learningRateFactor, i) => ({ offset: i * size, length: size, learningRateFactor, weightDecay: i === 0 ? weightDecay : 0 }));
}

async function run(
  options: OptimizerArguments,
  groups: readonly ParameterGroup[],
  params: Float32Array,
  gradients: readonly Float32Array[],
  provider: Provider,
) {
  const optimizer = resolveOptimizer(options);
  const layout = { tensors: [], groups, length };
  const session = await openSession(updateGraph({ optimizer, layout, provider }));
  const names = ["params", ...stateNames(optimizer)];
  const zeros = () => new ort.Tensor("float32", new Float32Array(length), [length]);
  let state: Record<string, ort.Tensor> = Object.fromEntries(names.map((name) => [name, zeros()]));
  state["params"] = new ort.Tensor("float32", params, [length]);
  state["step"] = new ort.Tensor("int64", new BigInt64Array(1), [1]);
  if (state["ema"] !== undefined) state["ema"] = state["params"];
  const history: { params: Float32Array; norm: number; ema: Float32Array | undefined }[] = [];
  for (const gradient of gradients) {
    const learning_rate = new ort.Tensor("float32", new Float32Array([rate]), []);
    const out = await session.run({ ...state, "params.grad": new ort.Tensor("float32", gradient, [length]), learning_rate });
    state = Object.fromEntries(names.map((name) => [name, out[`${name}.next`] as ort.Tensor]));
    history.push({ params: floats(state["params"]), norm: number(out["grad_norm"]), ema: state["ema"] && floats(state["ema"]) });
  }
  await session.release();
  return { history, state };
}

const cases: readonly { name: string; options: OptimizerArguments; torch: Record<string, unknown>; decay: number; factors: readonly number[] }[] = [
  { name: "SGD, plain", options: { kind: "sgd", momentum: 0 }, torch: { momentum: 0 }, decay: 0, factors: [1] },
  { name: "SGD, momentum and decay", options: { kind: "sgd" }, torch: { momentum: 0.9 }, decay: 0.01, factors: [1, 1] },
  { name: "SGD, Nesterov and groups", options: { kind: "sgd", nesterov: true }, torch: { momentum: 0.9, nesterov: true }, decay: 0.02, factors: [0.1, 10, 1] },
  { name: "SGD, clipped", options: { kind: "sgd", clipNorm: 3 }, torch: { momentum: 0.9 }, decay: 0, factors: [1] },
  { name: "SGD, clipping not reached", options: { kind: "sgd", clipNorm: 1e4 }, torch: { momentum: 0.9 }, decay: 0, factors: [1] },
  { name: "AdamW", options: { kind: "adamw" }, torch: {}, decay: 0.01, factors: [1] },
  {
    name: "AdamW, other betas, groups, clipped",
    options: { kind: "adamw", beta1: 0.8, beta2: 0.95, eps: 1e-6, clipNorm: 2 },
    torch: { betas: [0.8, 0.95], eps: 1e-6 },
    decay: 0.1,
    factors: [0.5, 2],
  },
];

interface Step {
  readonly params: readonly number[];
  readonly norm: number;
}

const start = randomVector(1);
const gradients = [2, 3, 4, 5, 6].map((seed) => randomVector(seed, 0.3));
/** What torch.optim makes of every case, in the order of the cases: one process. */
let wanted: readonly (readonly Step[])[];
beforeAll(() => {
  if (!havePython()) return;
  wanted = pythonJson("optimizer_reference.py", {
    params: [...start],
    gradients: gradients.map((gradient) => [...gradient]),
    cases: cases.map(({ options, torch, decay, factors }) => ({
      kind: options.kind,
      options: torch,
      groups: groupsOf(decay, factors).map(({ offset, length: count, learningRateFactor, weightDecay }) => ({
        offset,
        length: count,
        lr: Math.fround(rate) * learningRateFactor,
        weight_decay: weightDecay,
      })),
      clip: options.clipNorm ?? 0,
    })),
  });
});

/** The CPU takes or skips the step by an If, everything else by a Where. */
const providers = ["any", "cpu"] as const;

describe.each(providers)("update for %s against torch.optim", (provider) => {
  pythonTest.each(cases.map((each, i) => ({ ...each, i })))("$name", async ({ options, decay, factors, i: at }) => {
    const { history } = await run(options, groupsOf(decay, factors), start, gradients, provider);
    expect(wanted[at]).toHaveLength(gradients.length);
    wanted[at]?.forEach((step, i) => {
      const got = history[i];
      expect(Math.abs((got?.norm ?? 0) - step.norm) / step.norm).toBeLessThan(1e-6);
      const worst = Math.max(...step.params.map((value, j) => Math.abs((got?.params[j] ?? Number.NaN) - value)));
      expect(worst).toBeLessThan(1e-6);
    });
  });
});

test.each(providers)("a gradient that is not finite leaves the whole state as it was, for %s", async (provider) => {
  for (const options of [
    { kind: "sgd", ema: 0.99 },
    { kind: "adamw", clipNorm: 1 },
  ] as const) {
    const params = randomVector(1);
    const broken = randomVector(2);
    broken[17] = Number.POSITIVE_INFINITY;
    const good = await run(options, groupsOf(0, [1]), params, [randomVector(3)], provider);
    const both = await run(options, groupsOf(0, [1]), params, [randomVector(3), broken], provider);
    for (const [name, tensor] of Object.entries(good.state)) expect(both.state[name]?.data, name).toEqual(tensor.data);
  }
});

test.each(providers)("ema follows the parameters, for %s", async (provider) => {
  const params = randomVector(1);
  const { history } = await run({ kind: "sgd", momentum: 0, ema: 0.9 }, groupsOf(0, [1]), params, [randomVector(2), randomVector(3)], provider);
  let average = Float64Array.from(params);
  for (const step of history) {
    average = average.map((value, i) => 0.9 * value + 0.1 * (step.params[i] as number));
    const worst = Math.max(...average.map((value, i) => Math.abs(value - (step.ema?.[i] ?? Number.NaN))));
    expect(worst).toBeLessThan(1e-6);
  }
});
