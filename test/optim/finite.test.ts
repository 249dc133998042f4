/** A gradient is finite exactly where each of its elements is: NaN and both infinities are found, the largest float32 numbers are not taken for them. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { OpBuilder } from "../../src/ops/builder.ts";
import { allFinite } from "../../src/optim/update.ts";
import { number, openSession } from "../run-graph.ts";

const largest = 3.4028234663852886e38;

test.each([
  [0, true],
  [-0, true],
  [1e-45, true],
  [largest, true],
  [-largest, true],
  [Number.POSITIVE_INFINITY, false],
  [Number.NEGATIVE_INFINITY, false],
  [Number.NaN, false],
])("%s: %s", async (value, finite) => {
  const op = new OpBuilder();
  const x = op.input("x", "float32", ["P"]);
  const outputs = [{ name: "finite", value: allFinite(op, x) }];
  const graph = { name: "finite", inputs: [x], initializers: [], outputs, nodes: op.draft.nodes };
  const session = await openSession({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  for (const at of [0, 20, 40]) {
    // The others are large: their sum is not finite.
    const values = Float32Array.from({ length: 41 }, (_, i) => (i === at ? value : largest));
    const out = await session.run({ x: new ort.Tensor("float32", values, [41]) });
    expect(number(out["finite"])).toBe(finite ? 1 : 0);
  }
  await session.release();
});
