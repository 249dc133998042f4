/** The walk itself: sums over paths, several outputs, what stops a gradient, and what it reports as missing. */

import { describe, expect, test } from "vitest";
import { activeNodes, differentiate, influencing } from "../../src/autodiff/engine.ts";
import { nonDifferentiable } from "../../src/autodiff/registry.ts";
import { gradients } from "../../src/autodiff/rules.ts";
import type { Shape } from "../../src/ir/dims.ts";
import type { Value } from "../../src/ir/graph.ts";
import { neededNodes } from "../../src/ir/needed.ts";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { OhemgenError } from "../../src/support/errors.ts";
import { openModel, type Ran } from "./runtime.ts";

interface Built {
  readonly inputs: readonly Value[];
  readonly seeds: ReadonlyMap<Value, Value>;
  readonly wanted: readonly Value[];
}

async function run(build: (op: OpBuilder) => Built, feeds: Record<string, Tensor>): Promise<(number[] | undefined)[]> {
  const op = new OpBuilder();
  const { inputs, seeds, wanted } = build(op);
  const found = differentiate(op, op.draft.nodes.slice(), seeds, wanted);
  const outputs = wanted.flatMap((value) => {
    const gradient = found.get(value);
    if (gradient === undefined) return [];
    const node = { op: "Identity", domain: "", name: "gradient", inputs: [gradient], attributes: {} };
    const [copy] = op.draft.append(node, [{ dtype: gradient.dtype, shape: gradient.shape }], () => value.name).outputs;
    return [{ name: `gradient:${value.name}`, value: copy as Value }];
  });
  const graph = { name: "test", inputs, initializers: [], outputs, nodes: op.draft.nodes };
  const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const results = await session.run(new Map(Object.entries(feeds)));
  await session.close();
  return wanted.map((value) => {
    const result: Ran | undefined = results.get(`gradient:${value.name}`);
    return result && Array.from(result.data);
  });
}

const vector = (...values: number[]) => tensorOf("float32", [values.length], values);
const input = (op: OpBuilder, name: string, shape: Shape = [2]) => op.input(name, "float32", shape);

describe("sums over paths", () => {
  test("a value used twice by one node", async () => {
    const [found] = await run(
      (op) => {
        const [x, seed] = [input(op, "x"), input(op, "seed")];
        return { inputs: [x, seed], seeds: new Map([[op.add(x, x), seed]]), wanted: [x] };
      },
      { x: vector(1, 2), seed: vector(3, 5) },
    );
    expect(found).toEqual([6, 10]);
  });

  test("x·x + e^x·x over three edges", async () => {
    const [found] = await run(
      (op) => {
        const [x, seed] = [input(op, "x"), input(op, "seed")];
        const y = op.add(op.mul(x, x), op.mul(op.exp(x), x));
        return { inputs: [x, seed], seeds: new Map([[y, seed]]), wanted: [x] };
      },
      { x: vector(0, 1), seed: vector(1, 1) },
    );
    expect(found?.[0]).toBeCloseTo(1, 6);
    expect(found?.[1]).toBeCloseTo(2 + 2 * Math.E, 5);
  });

  test("several seeds, one of them on the way of another, and a wanted value in the middle", async () => {
    const found = await run(
      (op) => {
        const [x, s, t] = [input(op, "x"), input(op, "s"), input(op, "t")];
        const h = op.mul(x, 3);
        const y = op.mul(h, h);
        return {
          inputs: [x, s, t],
          seeds: new Map([
            [h, s],
            [y, t],
          ]),
          wanted: [x, h],
        };
      },
      { x: vector(1, 2), s: vector(10, 20), t: vector(1, 1) },
    );
    // dh = s + 2h·t, dx = 3·dh
    expect(found).toEqual([
      [48, 96],
      [16, 32],
    ]);
  });

  test("a wanted value that is a seed itself", async () => {
    const found = await run(
      (op) => {
        const [x, seed] = [input(op, "x"), input(op, "seed")];
        return { inputs: [x, seed], seeds: new Map([[x, seed]]), wanted: [x] };
      },
      { x: vector(1, 2), seed: vector(3, 4) },
    );
    expect(found).toEqual([[3, 4]]);
  });
});

test("sizes that are only known at run time: broadcasting is undone where it happened", async () => {
  const build = (op: OpBuilder): Built => {
    const [x, w, seed] = [input(op, "x", ["A", "B"]), input(op, "w", ["C", "D"]), input(op, "seed", ["E", "F"])];
    return { inputs: [x, w, seed], seeds: new Map([[op.mul(x, w), seed]]), wanted: [x, w] };
  };
  const matrix = (dims: number[], ...values: number[]) => tensorOf("float32", dims, values);
  const feeds = { x: matrix([2, 1], 1, 2), w: matrix([1, 3], 3, 4, 5), seed: matrix([2, 3], 1, 1, 1, 1, 1, 1) };
  expect(await run(build, feeds)).toEqual([
    [12, 12],
    [3, 3, 3],
  ]);
  const equal = { x: matrix([1, 2], 1, 2), w: matrix([1, 2], 3, 4), seed: matrix([1, 2], 1, 1) };
  expect(await run(build, equal)).toEqual([
    [3, 4],
    [1, 2],
  ]);
  const empty = { x: matrix([0, 1]), w: matrix([1, 2], 3, 4), seed: matrix([0, 2]) };
  expect(await run(build, empty)).toEqual([[], [0, 0]]);
});

test.each([4, 5])("the same with %i axes, of which the other operand has three", async (rank) => {
  const names = (letter: string, count: number) => Array.from({ length: count }, (_, i) => `${letter}${i}`);
  const build = (op: OpBuilder): Built => {
    const [x, w, seed] = [input(op, "x", names("X", rank)), input(op, "w", names("W", 3)), input(op, "seed", names("S", rank))];
    return { inputs: [x, w, seed], seeds: new Map([[op.mul(x, w), seed]]), wanted: [x, w] };
  };
  const front = rank === 5 ? [1] : [];
  const of = (dims: number[], values: number[]) => tensorOf("float32", dims, values);
  const feeds = { x: of([...front, 2, 1, 2, 1], [1, 2, 3, 4]), w: of([3, 1, 2], [1, 2, 3, 4, 5, 6]), seed: of([...front, 2, 3, 2, 2], new Array(24).fill(1)) };
  // dx = the sum of w, dw = the sum of x, over four places for each element of w.
  expect(await run(build, feeds)).toEqual([[21, 21, 21, 21], new Array(6).fill(10)]);
});

test("what a gradient only repeats is added, not expanded", async () => {
  const op = new OpBuilder();
  const [x, seed] = [input(op, "x", [2, 3, 4]), input(op, "seed", [2, 3, 4])];
  const y = op.add(op.mul(x, x), op.reduceMean(x, [1, 2], true));
  const gradient = differentiate(op, op.draft.nodes.slice(), new Map([[y, seed]]), [x]).get(x) as Value;
  expect(gradient.shape).toEqual([2, 3, 4]);
  expect(neededNodes(op.draft.nodes, [gradient]).map((node) => node.op)).not.toContain("Expand");

  const [found] = await run(
    (again) => {
      const [values, ones] = [input(again, "x", [1, 2, 2]), input(again, "seed", [1, 2, 2])];
      return {
        inputs: [values, ones],
        seeds: new Map([[again.add(again.mul(values, values), again.reduceMean(values, [1, 2], true)), ones]]),
        wanted: [values],
      };
    },
    { x: tensorOf("float32", [1, 2, 2], [1, 2, 3, 4]), seed: tensorOf("float32", [1, 2, 2], [1, 2, 3, 6]) },
  );
  // 2·x·seed, and a quarter of the seed's sum for each element.
  expect(found).toEqual([2 + 3, 8 + 3, 18 + 3, 48 + 3]);
});

test("what has to be done before the walk, and the gradient that arrives, come before a mask", () => {
  const op = new OpBuilder("cpu");
  const [x, seed, check] = [input(op, "x", [64, 512]), input(op, "seed", [64, 512]), input(op, "check", [])];
  const y = op.relu(x);
  const forward = op.draft.nodes.slice();
  const gradient = differentiate(op, forward, new Map([[y, seed]]), [x], { before: [check] }).get(x) as Value;
  const mask = op.draft.nodes.find((node) => node.op === "HardSigmoid");
  const behind = neededNodes(op.draft.nodes, [mask?.outputs[0] as Value]).flatMap((node) => node.inputs);
  expect(behind).toContain(check);
  expect(behind).toContain(seed);
  expect(gradient.shape).toEqual([64, 512]);
});

test("axes are constants where their number is known", () => {
  const op = new OpBuilder();
  const [x, w, seed] = [input(op, "x", ["A", "B"]), input(op, "w", ["C", "D"]), input(op, "seed", ["E", "F"])];
  const product = op.mul(x, w);
  differentiate(op, op.draft.nodes.slice(), new Map([[product, seed]]), [x, w]);
  const sums = op.draft.nodes.filter((node) => node.op === "ReduceSum");
  expect(sums.map((node) => Array.from(node.inputs[1]?.constant?.bytes ?? []).filter((byte) => byte !== 0))).toEqual([
    [1, 3],
    [1, 3],
  ]);
});

describe("what carries no gradient", () => {
  test("a value that does not influence the seed has none", async () => {
    const found = await run(
      (op) => {
        const [x, w, seed] = [input(op, "x"), input(op, "w"), input(op, "seed")];
        return { inputs: [x, w, seed], seeds: new Map([[op.exp(x), seed]]), wanted: [x, w] };
      },
      { x: vector(0, 0), w: vector(1, 1), seed: vector(1, 2) },
    );
    expect(found).toEqual([[1, 2], undefined]);
  });

  test("integers stop it, declared operators stop it", () => {
    const op = new OpBuilder();
    const x = input(op, "x");
    const ends = [op.cast(op.cast(x, "int32"), "float32"), op.floor(x), op.cast(op.greater(x, 0), "float32")];
    for (const end of ends) expect(influencing(activeNodes(op.draft.nodes, [x], [end]), [x], [end]).size).toBe(0);
  });

  test("only the output that is used counts", async () => {
    const [found] = await run(
      (op) => {
        const [x, seed] = [input(op, "x", [3]), input(op, "seed", [2])];
        const [, tail] = op.split(x, 0, [1, 2]) as [Value, Value];
        return { inputs: [x, seed], seeds: new Map([[tail, seed]]), wanted: [x] };
      },
      { x: vector(1, 2, 3), seed: vector(5, 6) },
    );
    expect(found).toEqual([0, 5, 6]);
  });
});

test("all nodes without a rule are named in one error", () => {
  const op = new OpBuilder();
  const x = input(op, "x", ["N", 3]);
  const type = [{ dtype: "float32" as const, shape: ["N", 3] }];
  let y = x;
  for (const name of ["a", "b", "c"])
    y = op.append(`Foreign${name}`, name === "c" ? "custom" : "", [y], {}, type, { names: { node: `/head/${name}` } }).outputs[0] as Value;
  const seed = input(op, "seed", ["N", 3]);
  const attempt = () => differentiate(op, op.draft.nodes.slice(), new Map([[y, seed]]), [x]);
  expect(attempt).toThrow(OhemgenError);
  expect(attempt).toThrow(/3 nodes[\s\S]*Foreigna +\/head\/a +float32\[N,3\][\s\S]*Foreignb[\s\S]*custom::Foreignc/);
});

test("declared operators are those that are piecewise constant or make integers", () => {
  const declared = Object.entries(gradients)
    .filter(([, rule]) => rule === nonDifferentiable)
    .map(([op]) => op);
  expect(declared.sort()).toMatchInlineSnapshot(`
    [
      "And",
      "ArgMax",
      "ArgMin",
      "Bernoulli",
      "BitShift",
      "BitwiseAnd",
      "BitwiseNot",
      "BitwiseOr",
      "BitwiseXor",
      "Ceil",
      "ConstantOfShape",
      "Equal",
      "EyeLike",
      "Floor",
      "Greater",
      "GreaterOrEqual",
      "Hardmax",
      "IsInf",
      "IsNaN",
      "Less",
      "LessOrEqual",
      "NonMaxSuppression",
      "NonZero",
      "Not",
      "Or",
      "QuantizeLinear",
      "RandomNormal",
      "RandomNormalLike",
      "RandomUniform",
      "RandomUniformLike",
      "Round",
      "Shape",
      "Sign",
      "Size",
      "Xor",
    ]
  `);
});
