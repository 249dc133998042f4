/** A gradient is finite exactly where each of its elements is: NaN and both infinities are found, the largest float32 numbers are not taken for them. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import type { Value } from "../../src/ir/graph.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { allFinite, joined, joinedGradients } from "../../src/optim/gradient.ts";
import { number, openSession } from "../run-graph.ts";

const largest = 3.4028234663852886e38;

const numbers = [
  [0, true],
  [-0, true],
  [1e-45, true],
  [largest, true],
  [-largest, true],
  [Number.POSITIVE_INFINITY, false],
  [Number.NEGATIVE_INFINITY, false],
  [Number.NaN, false],
] as const;

test.each(numbers)("%s: %s", async (value, finite) => {
  const op = new OpBuilder();
  const x = op.input("x", "float32", ["P"]);
  const session = await open(op, [x], { finite: allFinite(op, x) });
  for (const at of [0, 20, 40]) {
    // The others are large: their sum is not finite.
    const values = Float32Array.from({ length: 41 }, (_, i) => (i === at ? value : largest));
    const out = await session.run({ x: new ort.Tensor("float32", values, [41]) });
    expect(number(out["finite"])).toBe(finite ? 1 : 0);
  }
  await session.release();
});

/** Tensors of the gradient: two with rows of their own, one long and one short that have none. */
const parts = [[128, 32, 3, 3], [70_000], [512, 256], [5]];

for (const provider of ["any", "cpu"] as const) {
  const build = () => {
    const op = new OpBuilder(provider);
    const inputs = parts.map((shape, i) => op.input(`x${i}`, "float32", shape));
    const { parts: vectors, squares, finite } = joinedGradients(op, inputs);
    return { op, inputs, outputs: { vector: joined(op, vectors), squares, finite } };
  };
  const feedsOf = (tensors: readonly Float32Array[]) =>
    Object.fromEntries(tensors.map((values, i) => [`x${i}`, new ort.Tensor("float32", values, parts[i] as number[])]));
  const filled = (value: (i: number) => number) => parts.map((shape) => Float32Array.from({ length: elementCount(shape) }, (_, i) => value(i)));

  test(`tensors one after the other and their sum of squares, ${provider}`, async () => {
    const { op, inputs, outputs } = build();
    const session = await open(op, inputs, outputs);
    const tensors = filled((i) => Math.sin(i));
    const out = await session.run(feedsOf(tensors));
    const all = tensors.flatMap((values) => Array.from(values));
    expect(out["vector"]?.data).toEqual(Float32Array.from(all));
    const exact = all.reduce((sum, each) => sum + each * each, 0);
    // Rows first, then their sums: a few units of 2⁻²⁴.
    expect(Math.abs(number(out["squares"]) / exact - 1)).toBeLessThan(3e-7);
    expect(number(out["finite"])).toBe(1);
    await session.release();
  });

  test.each(numbers)(`among tensors whose squares overflow or not, ${provider}, %s: %s`, async (value, finite) => {
    const { op, inputs, outputs } = build();
    const session = await open(op, inputs, outputs);
    for (const others of [1, largest]) {
      for (const i of parts.keys()) {
        const tensors = filled(() => others);
        (tensors[i] as Float32Array)[3] = value;
        expect(number((await session.run(feedsOf(tensors)))["finite"])).toBe(finite ? 1 : 0);
      }
    }
    await session.release();
  });
}

async function open(op: OpBuilder, inputs: readonly Value[], outputs: Readonly<Record<string, Value>>) {
  const named = Object.entries(outputs).map(([name, value]) => ({ name, value }));
  const graph = { name: "finite", inputs, initializers: [], outputs: named, nodes: op.draft.nodes };
  return openSession({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
}
