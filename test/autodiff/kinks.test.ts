/** Where a derivative does not exist the gradient is PyTorch's: exact values at kinks, ties and zeros. */

import { expect, test } from "vitest";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";
import type { Provider } from "../../src/ops/provider.ts";
import { buildCase, type Case } from "./case.ts";
import { differentiateModel } from "./check.ts";
import { drawn, exactly, ints, type Operand, scalar, x } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

/** Gradient of every differentiated input for the seed 1, 1, … at the first output. */
async function gradientsOf(given: Case, provider: Provider = "any", seed?: readonly number[]): Promise<Record<string, number[]>> {
  const tensors = given.inputs.map((operand) => (operand === undefined ? undefined : drawn(operand, Math.random)));
  const { model } = buildCase(given, tensors, "static");
  const names = given.inputs.flatMap((operand, i) => (operand?.role === "variable" ? [`input${i}`] : []));
  const { backward, types } = differentiateModel(model, new Set(names), provider);
  const session = await openModel(backward);
  const shape = types[0]?.shape as readonly number[];
  const count = shape.reduce((a, b) => a * b, 1);
  const feeds = new Map<string, Tensor>(tensors.flatMap((tensor, i) => (tensor === undefined ? [] : [[`input${i}`, tensor] as const])));
  feeds.set("seed0", tensorOf("float32", shape, seed ?? new Array(count).fill(1)));
  const found = await session.run(feeds);
  await session.close();
  return Object.fromEntries(names.map((name) => [name, Array.from((found.get(`gradient:${name}`) as Ran).data)]));
}

const at = (...values: number[]): Operand => x([values.length], exactly(values));

const kinks: readonly (readonly [string, Case, readonly number[]])[] = [
  ["Relu at 0", { op: "Relu", inputs: [at(-1, 0, 1)] }, [0, 0, 1]],
  ["Relu of the smallest and largest numbers", { op: "Relu", inputs: [at(-1.2e-38, 1.2e-38, -3.4e38, 3.4e38)] }, [0, 1, 0, 1]],
  ["LeakyRelu at 0", { op: "LeakyRelu", inputs: [at(-1, 0, 1)], attrs: { alpha: 0.25 } }, [0.25, 0.25, 1]],
  [
    "LeakyRelu of the smallest and largest numbers",
    { op: "LeakyRelu", inputs: [at(-1.2e-38, 1.2e-38, -3.4e38, 3.4e38)], attrs: { alpha: 0.25 } },
    [0.25, 1, 0.25, 1],
  ],
  ["Abs at 0", { op: "Abs", inputs: [at(-2, 0, 2)] }, [-1, 0, 1]],
  ["Clip at its bounds", { op: "Clip", inputs: [at(-1, 0, 0.5, 1, 2), scalar(0), scalar(1)] }, [0, 1, 1, 1, 0]],
  ["ReduceL1 at 0", { op: "ReduceL1", inputs: [at(-2, 0, 2)] }, [-1, 0, 1]],
  ["ReduceL2 of zeros", { op: "ReduceL2", inputs: [at(0, 0)] }, [0, 0]],
  ["Pow 0 of 0", { op: "Pow", inputs: [at(0, 2), scalar(0)] }, [0, 0]],
  ["Pow 1 of 0", { op: "Pow", inputs: [at(0, 2), scalar(1)] }, [1, 1]],
  ["Pow 2 of 0", { op: "Pow", inputs: [at(0, -2), scalar(2)] }, [0, -4]],
  ["ReduceMax shares among ties", { op: "ReduceMax", inputs: [at(3, 1, 3)] }, [0.5, 0, 0.5]],
  ["ReduceMin shares among ties", { op: "ReduceMin", inputs: [x([2, 2], exactly([1, 1, 0, 5])), ints(1)] }, [0.5, 0.5, 1, 0]],
  ["GlobalMaxPool shares among ties", { op: "GlobalMaxPool", inputs: [x([1, 1, 2, 2], exactly([4, 4, 4, 4]))] }, [0.25, 0.25, 0.25, 0.25]],
  ["HardSigmoid at the ends", { op: "HardSigmoid", inputs: [at(-1, 0, 1)], attrs: { alpha: 0.5, beta: 0.5 } }, [0, 0.5, 0]],
  ["HardSwish at the ends", { op: "HardSwish", inputs: [at(-3, 0, 3)] }, [0, 0.5, 1]],
  ["HardSwish far outside", { op: "HardSwish", inputs: [at(-3e38, -4, 4, 3e38)] }, [0, 0, 1, 1]],
  ["Softsign at 0", { op: "Softsign", inputs: [at(0, 1)] }, [1, 0.25]],
];

const lowerings = ["any", "cpu"] as const;

for (const [about, given, expected] of kinks) {
  test.each(lowerings)(`${about}, %s`, async (provider) => {
    const { input0 } = await gradientsOf(given, provider);
    expect(input0).toEqual(expected);
  });
}

test("Max shares among tied inputs", async () => {
  const found = await gradientsOf({ op: "Max", inputs: [at(1, 2), at(1, 0), at(1, 2)] });
  const third = Math.fround(1 / 3);
  expect(found).toEqual({ input0: [third, 0.5], input1: [third, 0], input2: [third, 0.5] });
});

for (const provider of lowerings) {
  test(`MaxPool gives all to the first of a tie, ${provider}`, async () => {
    const pool: Case = { op: "MaxPool", inputs: [x([1, 1, 2, 4], exactly([7, 7, 0, 0, 7, 7, 0, 0]))], attrs: { kernel_shape: [2, 2], strides: [2, 2] } };
    expect(await gradientsOf(pool, provider, [2, 3])).toEqual({ input0: [2, 0, 3, 0, 0, 0, 0, 0] });
  });

  test(`MaxPool of overlapping windows adds up where they agree, ${provider}`, async () => {
    const pool: Case = { op: "MaxPool", inputs: [x([1, 1, 1, 4], exactly([1, 5, 2, 5]))], attrs: { kernel_shape: [1, 3] } };
    expect(await gradientsOf(pool, provider, [2, 3])).toEqual({ input0: [0, 5, 0, 0] });
  });

  test(`MaxPool of numbers below every pad, ${provider}`, async () => {
    const pool: Case = {
      op: "MaxPool",
      inputs: [x([1, 1, 2, 2], exactly([-9, -8, -7, -6]))],
      attrs: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] },
    };
    expect(await gradientsOf(pool, provider, [2])).toEqual({ input0: [0, 0, 0, 2] });
  });
}
