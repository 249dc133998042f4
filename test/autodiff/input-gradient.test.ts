/** Both lowerings of a convolution's input gradient on every geometry they apply to, not only where they are chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import { tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { convInputGradient, inputGradientMethods, isConvolutionOfTurned } from "../../src/ops/lowerings/conv-input-gradient.ts";
import { products, type Setting, settings } from "./conv-settings.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

/** dx = Σ of dy·w over all products, by definition, in float64. */
function byDefinition(setting: Setting, ws: ArrayLike<number>, dys: ArrayLike<number>): Float64Array {
  const result = new Float64Array(elementCount(setting.x));
  for (const at of products(setting)) result[at.x] = (result[at.x] as number) + (dys[at.dy] as number) * (ws[at.w] as number);
  return result;
}

for (const method of inputGradientMethods) {
  describe(method, () => {
    for (const setting of settings.filter(({ geometry }) => method !== "convolution" || isConvolutionOfTurned(geometry))) {
      test(setting.about, async () => {
        const op = new OpBuilder();
        const [x, w, dy] = [op.input("x", "float32", setting.x), op.input("w", "float32", setting.w), op.input("dy", "float32", setting.dy)];
        const dx = convInputGradient(op, setting.geometry, { x, w, dy }, { method });
        const graph = { name: "input_gradient", inputs: [x, w, dy], initializers: [], outputs: [{ name: "dx", value: dx }], nodes: op.draft.nodes };
        const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
        const random = randomFrom(setting.about.length);
        const draw = (dims: readonly number[]) => tensorOf("float32", dims, between(-1, 1)(elementCount(dims), random));
        const [xs, ws, dys] = [draw(setting.x), draw(setting.w), draw(setting.dy)];
        const results = await session.run(
          new Map([
            ["x", xs],
            ["w", ws],
            ["dy", dys],
          ]),
        );
        await session.close();
        const found = results.get("dx") as Ran;
        expect(found.dims).toEqual(setting.x);
        // Sums of at most a few hundred products of numbers below 1, in float32.
        byDefinition(setting, tensorNumbers(ws), tensorNumbers(dys)).forEach((value, i) => {
          expect(Math.abs((found.data[i] as number) - value)).toBeLessThan(2e-5);
        });
      });
    }
  });
}
