/** Taps of a kernel by a product and by slices, whole or not, reversed or not; and which of the two is chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import { tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { combinations } from "../../src/ops/lowerings/conv-geometry.ts";
import { type Interval, type Taps, tapsByProduct, tapsBySlices, tapsOf } from "../../src/ops/lowerings/conv-taps.ts";
import { providers } from "../../src/ops/provider.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

const intervalsOf = (size: number): readonly Interval[] =>
  Array.from({ length: size }, (_, begin) => Array.from({ length: size - begin }, (_, i) => ({ begin, end: begin + i + 1 }))).flat();

async function run(
  op: OpBuilder,
  inputs: readonly ReturnType<OpBuilder["input"]>[],
  value: ReturnType<OpBuilder["input"]>,
  feeds: readonly [string, ReturnType<typeof tensorOf>][],
) {
  const graph = { name: "taps", inputs, initializers: [], outputs: [{ name: "taps", value: op.neg(value) }], nodes: op.draft.nodes };
  const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const found = (await session.run(new Map(feeds))).get("taps") as Ran;
  await session.close();
  return { dims: found.dims, numbers: Array.from(found.data, (number) => -number) };
}

/** By the definition: element (m, c, t…) is w(m, c, tap of t…). */
function expected(numbers: ArrayLike<number>, dims: readonly number[], intervals: readonly Interval[], reversed: boolean): number[] {
  const [m, c, ...sizes] = dims as [number, number, ...number[]];
  const kernel = elementCount(sizes);
  const positions = combinations(intervals.map(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i)));
  const at = positions.map((taps) => taps.reduce((index, tap, i) => index * (sizes[i] as number) + (reversed ? (sizes[i] as number) - 1 - tap : tap), 0));
  return Array.from({ length: m * c }, (_, pair) => at.map((index) => numbers[pair * kernel + index] as number)).flat();
}

describe.each([
  ["product", tapsByProduct],
  ["slices", tapsBySlices],
] as const)("by %s", (_, take) => {
  for (const sizes of [[3], [3, 3], [2, 1], [1, 4], [2, 3, 2]]) {
    for (const reversed of [false, true]) {
      test(`kernel ${sizes.join("×")}${reversed ? ", reversed" : ""}, every interval, with and without a zero`, async () => {
        const dims = [3, 2, ...sizes];
        const values = tensorOf("float32", dims, between(-1, 1)(elementCount(dims), randomFrom(5)));
        for (const intervals of combinations(sizes.map(intervalsOf))) {
          for (const waits of [false, true]) {
            const op = new OpBuilder("cpu");
            const [w, zero] = [op.input("w", "float32", dims), op.input("zero", "float32", [])];
            const taps: Taps = { kernel: { w, reversed, zero: waits ? zero : undefined }, intervals };
            const found = await run(op, [w, zero], take(op, taps), [
              ["w", values],
              ["zero", tensorOf("float32", [], [0])],
            ]);
            expect(found.dims).toEqual([3, 2, ...intervals.map(({ begin, end }) => end - begin)]);
            expect(found.numbers).toEqual(expected(tensorNumbers(values), dims, intervals, reversed));
          }
        }
      });
    }
  }
});

describe("the choice", () => {
  const operators = (dims: readonly number[], provider: (typeof providers)[number], reversed: boolean) => {
    const op = new OpBuilder(provider);
    tapsOf(op, {
      kernel: { w: op.input("w", "float32", dims), reversed },
      intervals: [
        { begin: 0, end: dims[2] as number },
        { begin: 0, end: dims[3] as number },
      ],
    });
    return op.draft.nodes.map((node) => node.op);
  };

  test("a large kernel is reversed by a product on the CPU alone", () => {
    for (const provider of providers)
      expect(operators([128, 64, 3, 3], provider, true)).toEqual(provider === "cpu" ? ["Reshape", "MatMul", "Reshape"] : ["Slice"]);
  });

  test("a small one is not", () => expect(operators([8, 8, 3, 3], "cpu", true)).toEqual(["Slice"]));

  test("a whole kernel, or one pixel in reverse, is left as it is", () => {
    expect(operators([128, 64, 3, 3], "cpu", false)).toEqual([]);
    expect(operators([256, 128, 1, 1], "cpu", true)).toEqual([]);
  });
});

test("no Slice of a negative step begins or ends inside an axis, where WebGPU goes wrong", () => {
  for (const intervals of combinations([3, 3].map(intervalsOf))) {
    const op = new OpBuilder("webgpu");
    tapsBySlices(op, { kernel: { w: op.input("w", "float32", [8, 8, 3, 3]), reversed: true }, intervals });
    for (const { inputs } of op.draft.nodes.filter((node) => node.op === "Slice")) {
      const [starts, ends, , steps] = inputs.slice(1).map((value) => Array.from(value?.constant === undefined ? [] : tensorNumbers(value.constant)));
      steps?.forEach((step, i) => {
        if (step < 0) expect([starts?.[i], ends?.[i]]).toEqual([-1, -(2 ** 63)]);
      });
    }
  }
});
