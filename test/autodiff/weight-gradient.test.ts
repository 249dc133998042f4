/** Every lowering of a convolution's weight gradient on every geometry it applies to, not only where it is chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import type { Value } from "../../src/ir/graph.ts";
import { tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { canCompute, convWeightGradient, type WeightGradientMethod, weightGradientMethods } from "../../src/ops/lowerings/conv-weight-gradient.ts";
import { weightGradientByRows } from "../../src/ops/lowerings/conv-weight-rows.ts";
import { products, type Setting, settings } from "./conv-settings.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

function applies(method: WeightGradientMethod, { geometry, x, w, dy }: Setting): boolean {
  const value = (name: string, shape: readonly number[]): Value => ({ name, dtype: "float32", shape });
  return canCompute(method, geometry, { x: value("x", x), w: value("w", w), dy: value("dy", dy) });
}

/** dW = Σ of dy·x over all products, by definition, in float64. */
function byDefinition(setting: Setting, xs: ArrayLike<number>, dys: ArrayLike<number>): Float64Array {
  const result = new Float64Array(elementCount(setting.w));
  for (const at of products(setting)) result[at.w] = (result[at.w] as number) + (dys[at.dy] as number) * (xs[at.x] as number);
  return result;
}

/** The grouped convolution takes dy as its kernel, and phases and runs of rows are cut: sizes have to be known. */
const forms: Readonly<Record<WeightGradientMethod, readonly string[]>> = {
  product: ["static", "symbolic"],
  rows: ["static", "symbolic", "static in runs", "static, a product per column"],
  winograd: ["static", "symbolic batch"],
  cropped: ["static"],
  phases: ["static"],
  columns: ["static", "symbolic"],
  "grouped-convolution": ["static"],
  position: ["static", "symbolic"],
};

for (const method of weightGradientMethods) {
  describe(method, () => {
    for (const setting of settings.filter((candidate) => applies(method, candidate))) {
      for (const form of forms[method]) {
        test(`${setting.about}, ${form}`, async () => {
          const op = new OpBuilder();
          const isSymbolic = (i: number) => (form === "symbolic" && i !== 1) || (form === "symbolic batch" && i === 0);
          const shapeOf = (name: string, dims: readonly number[]) => dims.map((dim, i) => (isSymbolic(i) ? `${name}${i}` : dim));
          const x = op.input("x", "float32", shapeOf("x", setting.x));
          const dy = op.input("dy", "float32", shapeOf("dy", setting.dy));
          const w: Value = { name: "w", dtype: "float32", shape: setting.w };
          const limits = { "static in runs": { bytesAtOnce: 600 }, "static, a product per column": { bytesJoined: 0 } }[form];
          const dw =
            limits !== undefined
              ? weightGradientByRows(op, setting.geometry, { x, dy, weightDims: setting.w, ...limits })
              : convWeightGradient(op, setting.geometry, { x, w, dy }, method);
          const graph = { name: "weight_gradient", inputs: [x, dy], initializers: [], outputs: [{ name: "dw", value: dw }], nodes: op.draft.nodes };
          const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
          const random = randomFrom(setting.about.length);
          const draw = (dims: readonly number[]) => tensorOf("float32", dims, between(-1, 1)(elementCount(dims), random));
          const [xs, dys] = [draw(setting.x), draw(setting.dy)];
          const found = (
            await session.run(
              new Map([
                ["x", xs],
                ["dy", dys],
              ]),
            )
          ).get("dw") as Ran;
          await session.close();
          expect(found.dims).toEqual(setting.w);
          const expected = byDefinition(setting, tensorNumbers(xs), tensorNumbers(dys));
          // Sums of at most a few hundred products of numbers below 1, in float32.
          expected.forEach((value, i) => expect(Math.abs((found.data[i] as number) - value)).toBeLessThan(2e-5));
        });
      }
    }
  });
}
