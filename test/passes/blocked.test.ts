/** Convolutions on the runtime's blocked kernels give what the plain ones give, in every form the kernels have. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import type { Model, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { type BlockSize, blockableConvolutions, blockConvolutions, blockSizes } from "../../src/passes/blocked.ts";
import { between, randomFrom } from "../autodiff/operands.ts";
import { openModel, type Ran } from "../autodiff/runtime.ts";

interface Layer {
  readonly about: string;
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly attrs?: Readonly<Record<string, unknown>>;
  readonly bias?: boolean;
  readonly activation?: (op: OpBuilder, y: Value) => Value;
}

const pads = [1, 1, 1, 1];

const layers: readonly Layer[] = [
  { about: "channels in whole blocks", x: [2, 32, 9, 7], w: [16, 32, 3, 3], attrs: { pads } },
  { about: "channels to be padded, bias and Relu", x: [2, 20, 9, 7], w: [12, 20, 3, 3], attrs: { pads }, bias: true, activation: (op, y) => op.relu(y) },
  { about: "three channels, stride 2", x: [1, 3, 16, 12], w: [24, 3, 7, 7], attrs: { pads: [3, 3, 3, 3], strides: [2, 2] } },
  { about: "1×1", x: [2, 48, 5, 6], w: [32, 48, 1, 1], bias: true },
  { about: "dilated, pads that differ", x: [1, 16, 12, 11], w: [16, 16, 3, 3], attrs: { pads: [2, 1, 2, 3], dilations: [2, 2] } },
  { about: "depthwise, channels to be padded", x: [2, 20, 8, 8], w: [20, 1, 5, 5], attrs: { pads: [2, 2, 2, 2], group: 20 }, bias: true },
  { about: "groups of whole blocks", x: [1, 64, 6, 6], w: [32, 32, 3, 3], attrs: { pads, group: 2 } },
  { about: "LeakyRelu", x: [1, 16, 6, 6], w: [16, 16, 3, 3], attrs: { pads }, activation: (op, y) => op.emit("LeakyRelu", [y], { alpha: 0.3 }) },
  {
    about: "Clip",
    x: [1, 16, 6, 6],
    w: [16, 16, 3, 3],
    attrs: { pads },
    activation: (op, y) => op.emit("Clip", [y, op.scalar("float32", -1), op.scalar("float32", 2)]),
  },
  { about: "HardSigmoid", x: [1, 16, 6, 6], w: [16, 16, 3, 3], activation: (op, y) => op.emit("HardSigmoid", [y], { alpha: 0.1, beta: 0.4 }) },
];

function modelOf({ x, w, attrs = {}, bias = false, activation = (_, y) => y }: Layer): Model {
  const op = new OpBuilder("cpu");
  const inputs = [op.input("x", "float32", x), op.input("w", "float32", w), ...(bias ? [op.input("b", "float32", [w[0] as number])] : [])];
  return finishModel(op, "layer", inputs, [{ name: "y", value: activation(op, op.emit("Conv", inputs, attrs)) }]);
}

type Outputs = ReadonlyMap<string, Ran>;

async function run(model: Model): Promise<Outputs> {
  const session = await openModel(model);
  const random = randomFrom(7);
  const feeds = model.graph.inputs.map(({ name, shape }) => {
    const dims = shape as readonly number[];
    return [name, tensorOf("float32", dims, between(-1, 1)(elementCount(dims), random))] as const;
  });
  try {
    return await session.run(new Map(feeds));
  } finally {
    await session.close();
  }
}

/** Sums of at most a thousand products of numbers below 1, rounded in another order. */
const rounding = 2e-5;

function difference(a: Outputs, b: Outputs, name: string): number {
  const [one, other] = [a.get(name) as Ran, b.get(name) as Ran];
  expect(other.dims).toEqual(one.dims);
  return Array.from(one.data as ArrayLike<number>).reduce((most, value, i) => Math.max(most, Math.abs(value - (other.data[i] as number))), 0);
}

/** The block this machine has kernels for; with the other one the numbers come out wrong. */
async function machineBlock(): Promise<BlockSize> {
  const model = modelOf(layers[0] as Layer);
  const plain = await run(model);
  for (const block of blockSizes) {
    const blocked = await run(blockConvolutions(model, block, () => true)).catch(() => undefined);
    if (blocked !== undefined && difference(plain, blocked, "y") < rounding) return block;
  }
  throw new Error("the runtime has no blocked kernels on this machine");
}

const block = await machineBlock();

describe(`blocks of ${block}`, () => {
  test.each(layers)("$about", async (layer) => {
    const model = modelOf(layer);
    const blocked = blockConvolutions(model, block, () => true);
    expect(blocked.graph.nodes.filter(({ domain, op }) => domain === "" && (op === "Conv" || op === model.graph.nodes.at(-1)?.op))).toEqual([]);
    expect(difference(await run(model), await run(blocked), "y")).toBeLessThan(rounding);
  });

  test("a convolution takes the output of another in blocks, and the plain one is there where it is read", async () => {
    const op = new OpBuilder("cpu");
    const [x, v, w] = [op.input("x", "float32", [2, 16, 8, 8]), op.input("v", "float32", [20, 16, 3, 3]), op.input("w", "float32", [16, 20, 3, 3])];
    const middle = op.relu(op.emit("Conv", [x, v], { pads }));
    const last = op.emit("Conv", [middle, w], { pads });
    const outputs = [
      { name: "middle", value: middle },
      { name: "last", value: last },
    ];
    const model = finishModel(op, "two", [x, v, w], outputs);
    const blocked = blockConvolutions(model, block, () => true);
    const count = (kind: string) => blocked.graph.nodes.filter((node) => node.op === kind).length;
    expect([count("ReorderInput"), count("ReorderOutput"), count("Relu")]).toEqual([1, 2, 0]);
    const [plain, found] = [await run(model), await run(blocked)];
    expect(difference(plain, found, "middle")).toBeLessThan(rounding);
    // Sums of numbers up to 10.
    expect(difference(plain, found, "last")).toBeLessThan(10 * rounding);
  });

  test("an activation whose input something else reads stays", () => {
    const op = new OpBuilder("cpu");
    const [x, w] = [op.input("x", "float32", [1, 16, 8, 8]), op.input("w", "float32", [16, 16, 3, 3])];
    const y = op.emit("Conv", [x, w], { pads });
    const outputs = [
      { name: "y", value: y },
      { name: "z", value: op.relu(y) },
    ];
    const model = finishModel(op, "two", [x, w], outputs);
    expect(blockConvolutions(model, block, () => true).graph.nodes.some((node) => node.op === "Relu")).toBe(true);
  });
});

test("constant weights, sizes that are open and channels that do not fit are left alone", () => {
  const op = new OpBuilder("cpu");
  const w = op.input("w", "float32", [16, 16, 3, 3]);
  const constant = op.constant(
    tensorOf(
      "float32",
      [16, 16, 1, 1],
      Array.from({ length: 256 }, (_, i) => i),
    ),
  );
  const outputs = [
    op.emit("Conv", [op.input("a", "float32", [1, 16, 8, 8]), constant]),
    op.emit("Conv", [op.input("b", "float32", ["N", 16, 8, 8]), w]),
    op.emit("Conv", [op.input("c", "float32", [1, 18, 8, 8]), op.input("v", "float32", [16, 18, 3, 3])]),
  ];
  const nodes = op.draft.nodes;
  const graph = { name: "others", inputs: [], outputs: outputs.map((value) => ({ name: value.name, value })), initializers: [], nodes };
  const model: Model = { irVersion: 10, opsets: new Map([["", 18]]), producer: { name: "", version: "" }, functions: [], graph };
  expect(blockableConvolutions(model, 16)).toEqual([]);
  expect(blockConvolutions(model, 16, () => true)).toBe(model);
});
