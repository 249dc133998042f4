/** The sum over a batch by a reduction and by a product. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { imageSum, imageSumByProduct, imageSumByReduction } from "../../src/ops/lowerings/image-sum.ts";
import { providers } from "../../src/ops/provider.ts";
import { openModel } from "../autodiff/runtime.ts";

describe.each([
  ["reduction", imageSumByReduction],
  ["product", imageSumByProduct],
] as const)("by %s", (_, sum) => {
  test.each([
    [3, [3, 4, 5]],
    [1, [2, 6]],
    ["N", [7]],
  ] as const)("%s images of %j", async (images, rest) => {
    const op = new OpBuilder();
    const x = op.input("x", "float32", [images, ...rest]);
    const graph = { name: "sum", inputs: [x], initializers: [], outputs: [{ name: "y", value: op.neg(sum(op, x)) }], nodes: op.draft.nodes };
    const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
    const [count, size] = [images === "N" ? 5 : images, elementCount(rest)];
    const numbers = Float32Array.from({ length: count * size }, (_, i) => (i * 37) % 101);
    const found = (await session.run(new Map([["x", tensorOf("float32", [count, ...rest], numbers)]]))).get("y");
    await session.close();
    const expected = Float32Array.from(
      { length: size },
      (_, i) => -Array.from({ length: count }, (_, n) => numbers[n * size + i] as number).reduce((a, b) => a + b),
    );
    expect(found).toEqual({ dims: [...rest], data: expected });
  });
});

test("a product on the CPU alone, for large images, of which there is more than one", () => {
  const operators = (provider: (typeof providers)[number], shape: readonly number[]) => {
    const op = new OpBuilder(provider);
    imageSum(op, op.input("x", "float32", [...shape]));
    return op.draft.nodes.map((node) => node.op).filter((name) => name !== "Reshape" && name !== "Expand");
  };
  for (const provider of providers) expect(operators(provider, [2, 128, 128])).toEqual([provider === "cpu" ? "MatMul" : "ReduceSum"]);
  expect(operators("cpu", [2, 8, 8])).toEqual(["ReduceSum"]);
  expect(operators("cpu", [1, 128, 128])).toEqual([]);
});
