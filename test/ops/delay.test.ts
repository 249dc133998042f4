/** A value that waits for a zero is itself, also where the zero is NaN on the CPU; and it has its sizes in the file. */

import { describe, expect, test } from "vitest";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { delayed } from "../../src/ops/delay.ts";
import { providers } from "../../src/ops/provider.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { openModel } from "../autodiff/runtime.ts";

const large = [4, 8192];

function build(provider: (typeof providers)[number], shape: readonly (number | string)[]) {
  const op = new OpBuilder(provider);
  const [x, zero] = [op.input("x", "float32", [...shape]), op.input("zero", "float32", [])];
  const value = op.neg(delayed(op, x, zero));
  const graph = { name: "delay", inputs: [x, zero], initializers: [], outputs: [{ name: "y", value }], nodes: op.draft.nodes };
  return { irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph };
}

describe.each([
  ["known sizes", large],
  ["an unknown size", ["N", 8192]],
  ["few elements", [2, 3]],
] as const)("%s", (_, shape) => {
  test.each(providers)("%s", async (provider) => {
    const dims = shape.map((dim) => (typeof dim === "number" ? dim : 4));
    const numbers = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => i - 3);
    const session = await openModel(build(provider, shape));
    const found = (
      await session.run(
        new Map([
          ["x", tensorOf("float32", dims, numbers)],
          ["zero", tensorOf("float32", [], [0])],
        ]),
      )
    ).get("y");
    await session.close();
    expect(found).toEqual({ dims, data: numbers.map((number) => -number) });
  });
});

test("on the CPU nothing is added, and a zero that is NaN is waited for like any other", async () => {
  const model = build("cpu", large);
  expect(model.graph.nodes.filter((node) => node.op === "Add" && node.inputs[0]?.dtype === "float32")).toEqual([]);
  const session = await openModel(model);
  const numbers = new Float32Array(32768).fill(2);
  const found = (
    await session.run(
      new Map([
        ["x", tensorOf("float32", large, numbers)],
        ["zero", tensorOf("float32", [], [Number.NaN])],
      ]),
    )
  ).get("y");
  await session.close();
  expect(found?.data[0]).toBe(-2);
});

test("the file states the sizes of the view, which no inference finds", () => {
  const { graph } = loadModel(encodeModel(build("cpu", large)));
  expect(graph.nodes.find((node) => node.op === "Reshape" && node.inputs[0]?.name === "x")?.outputs[0]?.shape).toEqual(large);
});

test("a view of the view does not read past it", () => {
  const op = new OpBuilder("cpu");
  const [x, zero] = [op.input("x", "float32", large), op.input("zero", "float32", [])];
  const waiting = delayed(op, x, zero);
  op.reshape(waiting, [-1]);
  expect(op.draft.nodes.at(-1)?.inputs[0]).toBe(waiting);
});
