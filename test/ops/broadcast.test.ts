/** Numbers that meet tensors whose last axes are 1 get as many axes as keep the runtime from going element by element. */

import { expect, test } from "vitest";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { openModel, type Ran } from "../autodiff/runtime.ts";

const shapesOf = (op: OpBuilder) => op.draft.nodes.at(-1)?.inputs.map((value) => value?.shape);

test.each([
  ["one axis of 1", [4096, 1], [1, 1]],
  ["two", [64, 64, 1, 1], [1, 1, 1]],
  ["an unknown size", ["N", 64, 1], [1, 1]],
] as const)("a constant: %s", (_, shape, widened) => {
  const op = new OpBuilder();
  const x = op.input("x", "float32", [...shape]);
  expect(op.add(x, 2).shape).toEqual(shape);
  expect(shapesOf(op)).toEqual([shape, widened]);
});

test.each([
  ["the last axis is longer", [4096, 2]],
  ["few elements", [64, 1]],
  ["a single element", [1, 1]],
] as const)("left as it is: %s", (_, shape) => {
  const op = new OpBuilder();
  op.mul(op.input("x", "float32", [...shape]), 2);
  expect(shapesOf(op)).toEqual([shape, []]);
});

test("what is computed is reshaped, and the result is the same", async () => {
  const op = new OpBuilder();
  const [x, scalar] = [op.input("x", "float32", [2048, 2, 1, 1]), op.input("s", "float32", [])];
  const y = op.where(op.greater(x, scalar), op.sub(scalar, x), 5);
  const graph = { name: "broadcast", inputs: [x, scalar], initializers: [], outputs: [{ name: "y", value: y }], nodes: op.draft.nodes };
  expect(graph.nodes.filter((node) => node.op === "Reshape")).toHaveLength(1);
  const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const numbers = Float32Array.from({ length: 4096 }, (_, i) => i % 7);
  const found = await session.run(
    new Map([
      ["x", tensorOf("float32", [2048, 2, 1, 1], numbers)],
      ["s", tensorOf("float32", [], [3])],
    ]),
  );
  await session.close();
  expect(found.get("y")).toEqual({ dims: [2048, 2, 1, 1], data: numbers.map((number) => (number > 3 ? 3 - number : 5)) } satisfies Ran);
});
