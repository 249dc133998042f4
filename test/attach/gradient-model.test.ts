/** `gradientModel`: names, types and shapes as promised, the right numbers on the runtime, refusals in words. */

import { describe, expect, test } from "vitest";
import { type GradientResult, gradientModel } from "../../src/attach/gradient-model.ts";
import type { Model } from "../../src/ir/graph.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { openModel } from "../autodiff/runtime.ts";
import { constant, graphOf, modelOf, node, value } from "../passes/compare.ts";
import { errorOf } from "../proto/build.ts";

async function run({ model }: GradientResult, feeds: Record<string, Tensor>): Promise<Record<string, { dims: readonly number[]; data: number[] }>> {
  const session = await openModel(model);
  try {
    const results = await session.run(new Map(Object.entries(feeds)));
    return Object.fromEntries([...results].map(([name, { dims, data }]) => [name, { dims, data: Array.from(data) }]));
  } finally {
    await session.close();
  }
}

const float = (dims: readonly number[], values: readonly number[]) => tensorOf("float32", dims, values);

/** y = relu(x·Wᵀ), z = Σ y², as a file. */
function small(): Model {
  const x = value("x", "float32", ["N", 2]);
  const w = constant("w", "float32", [2, 2], [1, 2, 3, -4]);
  const [wt, product, y, z] = [value("wt"), value("product"), value("y", "float32", ["N", 2]), value("z", "float32", [])];
  const nodes = [
    node("Transpose", [w], [wt], { attrs: { perm: [1, 0] } }),
    node("MatMul", [x, wt], [product]),
    node("Relu", [product], [y]),
    node("ReduceSumSquare", [y], [z], { attrs: { keepdims: 0 } }),
  ];
  return modelOf({ ...graphOf([x], nodes, [y, z]), initializers: [w] });
}

describe("numbers", () => {
  test("of an output: input, initializer behind a Transpose, inner tensors on one path", async () => {
    const result = gradientModel(small(), { of: "z", wrt: ["x", "w", "product", "y", "wt"] });
    expect(result.model.graph.inputs.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ["x", "float32", ["N", 2]],
      ["z.grad", "float32", []],
    ]);
    expect(result.model.graph.outputs.map(({ name }) => name)).toEqual(["z", "x.grad", "w.grad", "product.grad", "y.grad", "wt.grad"]);
    expect([...result.model.opsets]).toEqual([["", 18]]);
    expect(loadModel(encodeModel(result.model)).graph.initializers.map(({ name, constant: tensor }) => [name, tensor?.dims])).toContainEqual(["w", [2, 2]]);
    for (const [rows, x] of [
      [1, [1, 1]],
      [2, [1, 1, 2, -1]],
    ] as const) {
      // product = x·Wᵀ; y = relu; dz/dy = 2y·seed.
      const product = Array.from({ length: rows }, (_, i) => [
        (x[2 * i] as number) + 2 * (x[2 * i + 1] as number),
        3 * (x[2 * i] as number) - 4 * (x[2 * i + 1] as number),
      ]).flat();
      const dy = product.map((p) => 2 * Math.max(0, p) * 0.5);
      const out = await run(result, { x: float([rows, 2], x), "z.grad": float([], [0.5]) });
      expect(out["z"]).toEqual({ dims: [], data: [product.reduce((sum, p) => sum + Math.max(0, p) ** 2, 0)] });
      expect(out["y.grad"]).toEqual({ dims: [rows, 2], data: dy });
      expect(out["product.grad"]).toEqual({ dims: [rows, 2], data: dy });
      expect(out["x.grad"]?.data).toEqual(
        dy.map((_, k) => (k % 2 === 0 ? (dy[k] as number) + 3 * (dy[k + 1] as number) : 2 * (dy[k - 1] as number) - 4 * (dy[k] as number))),
      );
      const dw = [0, 1].flatMap((o) =>
        [0, 1].map((i) => Array.from({ length: rows }, (_, n) => (dy[2 * n + o] as number) * (x[2 * n + i] as number)).reduce((a, b) => a + b, 0)),
      );
      expect(out["w.grad"]).toEqual({ dims: [2, 2], data: dw });
      expect(out["wt.grad"]).toEqual({ dims: [2, 2], data: [dw[0], dw[2], dw[1], dw[3]] });
    }
  });

  test("an inner tensor keeps its own gradient where passes would go round it", async () => {
    const x = value("x", "float32", [2, 3]);
    const [a, b, c, d, y] = [value("a"), value("b"), value("c"), value("d"), value("y", "float32", [2, 3])];
    const swap = { attrs: { perm: [1, 0] } };
    // b = (xᵀ)ᵀ is x, c and d are the same Relu of it; y = c + 2d.
    const two = constant("two", "float32", [], [2]);
    const e = value("e");
    const nodes = [
      node("Transpose", [x], [a], swap),
      node("Transpose", [a], [b], swap),
      node("Relu", [b], [c]),
      node("Relu", [b], [d]),
      node("Mul", [d, two], [e]),
      node("Add", [c, e], [y]),
    ];
    const file = modelOf({ ...graphOf([x], nodes, [y]), initializers: [two] });
    const result = gradientModel(file, { of: "y", wrt: ["a", "b", "c", "d", "x"] });
    const out = await run(result, { x: float([2, 3], [1, 2, 3, -1, -2, 3]), "y.grad": float([2, 3], [1, 10, 100, 1, 1, 1]) });
    const through = [3, 30, 300, 0, 0, 3];
    expect(out["c.grad"]?.data).toEqual([1, 10, 100, 1, 1, 1]);
    expect(out["d.grad"]?.data).toEqual([2, 20, 200, 2, 2, 2]);
    expect(out["b.grad"]?.data).toEqual(through);
    expect(out["x.grad"]?.data).toEqual(through);
    expect(out["a.grad"]).toEqual({ dims: [3, 2], data: [3, 0, 30, 0, 300, 3] });
  });

  test("zeros in shape and type: no path, or only through steps", async () => {
    const [x, z, unused] = [value("x", "float32", ["N", 3]), value("z", "float32", [2, "M"]), value("unused", "float16", ["K"])];
    const w = constant("w", "float64", [2], [1, 2]);
    const [floor, sum, y] = [value("floor"), value("sum"), value("y", "float32", ["N", 3])];
    const nodes = [node("Floor", [x], [floor]), node("Round", [floor], [y]), node("ReduceSum", [z], [sum])];
    const result = gradientModel(modelOf({ ...graphOf([x, z, unused], nodes, [y, sum]), initializers: [w] }), {
      of: "y",
      wrt: ["x", "z", "w", "floor", "unused"],
    });
    expect(result.wrt.map(({ name, type, zero }) => [name, type, zero])).toEqual([
      ["x", "float32", true],
      ["z", "float32", true],
      ["w", "float64", true],
      ["floor", "float32", true],
      ["unused", "float16", true],
    ]);
    const feeds = {
      x: float([1, 3], [0.5, 1.5, 2]),
      z: float([2, 2], [1, 2, 3, 4]),
      unused: tensorOf("float16", [2], [1, 2]),
      "y.grad": float([1, 3], [1, 1, 1]),
    };
    const out = await run(result, feeds);
    expect(out["y"]?.data).toEqual([0, 1, 2]);
    expect(out["x.grad"]).toEqual({ dims: [1, 3], data: [0, 0, 0] });
    expect(out["z.grad"]).toEqual({ dims: [2, 2], data: [0, 0, 0, 0] });
    expect(out["w.grad"]).toEqual({ dims: [2], data: [0, 0] });
    expect(out["unused.grad"]?.dims).toEqual([2]);
  });

  test.each(["float16", "float64"] as const)("a %s model: tensors keep their type, the graph computes in float32", async (dtype) => {
    const x = value("x", dtype, [2]);
    const w = constant("w", dtype, [2], [3, 5]);
    const [inner, y] = [value("inner"), value("y", dtype, [2])];
    const file = modelOf({ ...graphOf([x], [node("Mul", [x, w], [inner]), node("Mul", [inner, inner], [y])], [y]), initializers: [w] });
    const result = gradientModel(file, { of: "y", wrt: ["x", "w", "inner"] });
    expect(result.of.type).toBe(dtype);
    const written = loadModel(encodeModel(result.model)).graph;
    expect(written.inputs.map((input) => input.dtype)).toEqual([dtype, dtype]);
    expect(written.outputs.map((output) => output.value.dtype)).toEqual([dtype, dtype, dtype, dtype]);
    expect(written.initializers.find(({ name }) => name === "w")?.dtype).toBe(dtype);
    const out = await run(result, { x: tensorOf(dtype, [2], [1, 2]), "y.grad": tensorOf(dtype, [2], [1, 0.5]) });
    const numbers = (name: string) =>
      Array.from(
        dtype === "float64"
          ? (out[name]?.data ?? [])
          : tensorNumbers({ dtype, dims: [2], bytes: new Uint8Array(Uint16Array.from(out[name]?.data ?? []).buffer) }),
      );
    expect(numbers("y")).toEqual([9, 100]);
    expect(numbers("inner.grad")).toEqual([6, 10]);
    expect(numbers("x.grad")).toEqual([18, 50]);
    expect(numbers("w.grad")).toEqual([6, 20]);
  });

  test("BatchNormalization in training mode takes the statistics of the batch, and gives the running ones", async () => {
    const x = value("x", "float32", [4, 1]);
    const [scale, bias, mean, variance] = [1, 0, 0.5, 2].map((number, i) => constant(`c${i}`, "float32", [1], [number]));
    const [y, nextMean, nextVariance] = [value("y", "float32", [4, 1]), value("next_mean", "float32", [1]), value("next_variance", "float32", [1])];
    const attrs = { epsilon: 0.001, momentum: 0.75, training_mode: 1 };
    const nodes = [node("BatchNormalization", [x, scale, bias, mean, variance], [y, nextMean, nextVariance], { attrs })];
    const file = modelOf({ ...graphOf([x], nodes, [y, nextMean, nextVariance]), initializers: [scale, bias, mean, variance] as never });
    const numbers = [1, 2, 4, 5];
    const statistics = await run(gradientModel(file, { of: "next_variance", wrt: ["x"] }), {
      x: float([4, 1], numbers),
      "next_variance.grad": float([1], [1]),
    });
    // Mean 3, biased variance 2.5; d variance/dx = (x - mean)/2.
    expect(statistics["next_variance"]?.data[0]).toBeCloseTo(0.75 * 2 + 0.25 * 2.5, 6);
    numbers.forEach((number, i) => expect(statistics["x.grad"]?.data[i]).toBeCloseTo((0.25 * (number - 3)) / 2, 6));
    const out = await run(gradientModel(file, { of: "y", wrt: ["x", "c0"] }), { x: float([4, 1], numbers), "y.grad": float([4, 1], [1, 1, 1, 1]) });
    numbers.forEach((number, i) => expect(out["y"]?.data[i]).toBeCloseTo((number - 3) / Math.sqrt(2.501), 5));
    // A constant added to all of y cannot come from x, and scale times nothing sums to 0.
    for (const gradient of [...(out["x.grad"]?.data ?? []), ...(out["c0.grad"]?.data ?? [])]) expect(gradient).toBeCloseTo(0, 5);
  });

  test.each([
    ["asked for by the model", constant("training", "bool", [], [1])],
    ["asked for at run time", value("training", "bool", [])],
  ] as const)("Dropout in training, %s: the gradient passes what was kept", async (_about, training) => {
    const x = value("x", "float32", [400]);
    const ratio = constant("ratio", "float32", [], [0.25]);
    const y = value("y", "float32", [400]);
    const file = modelOf({
      ...graphOf(training.constant === undefined ? [x, training] : [x], [node("Dropout", [x, ratio, training], [y])], [y]),
      initializers: training.constant === undefined ? [ratio] : [ratio, training],
    });
    const ones = new Array<number>(400).fill(1);
    const result = gradientModel(file, { of: "y", wrt: ["x"] });
    const feeds = { x: float([400], ones), "y.grad": float([400], ones) };
    const on = await run(result, { ...feeds, training: tensorOf("bool", [], [1]) });
    expect(on["x.grad"]?.data).toEqual(on["y"]?.data);
    const kept = on["y"]?.data.filter((number) => number !== 0) ?? [];
    expect(kept.length).toBeGreaterThan(250);
    expect(kept.length).toBeLessThan(350);
    for (const number of kept) expect(number).toBeCloseTo(4 / 3, 5);
    if (training.constant === undefined) expect((await run(result, { ...feeds, training: tensorOf("bool", [], [0]) }))["x.grad"]?.data).toEqual(ones);
  });

  test("an output that is a copy of an input", async () => {
    const [x, y] = [value("x", "float32", []), value("y", "float32", [])];
    const result = gradientModel(modelOf(graphOf([x], [node("Identity", [x], [y])], [y])), { of: "y", wrt: ["x"] });
    expect(await run(result, { x: float([], [2]), "y.grad": float([], [7]) })).toEqual({ y: { dims: [], data: [2] }, "x.grad": { dims: [], data: [7] } });
  });
});

describe("refusals", () => {
  const indices = value("indices", "int64", [2]);
  const x = value("x", "float32", [3]);
  const [taken, size] = [value("taken", "float32", [2]), value("size", "int64", [1])];
  const file = modelOf(graphOf([x, indices], [node("Gather", [x, indices], [taken]), node("Shape", [x], [size])], [taken, size]));

  test.each([
    ["taken", ["indices"], "E240", /indices is int64/],
    ["size", ["x"], "E240", /size is int64/],
    ["x", ["indices"], "E240", /x is an input/],
    ["taken", ["taken"], "E240", /itself/],
    ["nothing", ["x"], "E211", /no tensor named nothing/],
    ["taken", ["x", "nothing"], "E211", /no tensor named nothing/],
  ] as const)("%s by %s", (of, wrt, code, message) => {
    expect(errorOf(() => gradientModel(file, { of, wrt }), code).message).toMatch(message);
  });

  test("all operators without a rule at once", () => {
    const names = ["a", "b", "c", "d", "e"];
    const values = names.map((name) => value(name, "float32", [3]));
    const nodes = values.map((output, i) => node(`Foreign${i}`, [values[i - 1] ?? x], [output], { domain: "custom" }));
    const error = errorOf(() => gradientModel(modelOf(graphOf([x], nodes, [values[4] as never])), { of: "e", wrt: ["x"] }), "E201");
    expect(error.message).toMatch(/5 nodes between x and e/);
    for (let i = 0; i < 5; i++) expect(error.message).toContain(`custom::Foreign${i}`);
  });
});
