/** Both lowerings of a convolution's input gradient on every geometry they apply to, not only where they are chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import { tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { convInputGradient, inputGradientMethods, isConvolutionOfTurned } from "../../src/ops/lowerings/conv-input-gradient.ts";
import { at, indices, type Setting, settings } from "./conv-settings.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

/** dx[n, g·C/G + c, o·s + k·d - p] = Σ over m in group g, o and k of dy[n,m,o]·w[m,c,k], by definition, in float64. */
function byDefinition({ x, w, dy, geometry: { axes, group } }: Setting, ws: ArrayLike<number>, dys: ArrayLike<number>): Float64Array {
  const result = new Float64Array(elementCount(x));
  const [m, perGroup] = w as [number, number];
  for (const [channel, c, ...k] of indices(w) as Generator<[number, number, ...number[]]>) {
    const input = Math.floor(channel / (m / group)) * perGroup + c;
    for (const [n, ...o] of indices([dy[0] as number, ...dy.slice(2)]) as Generator<[number, ...number[]]>) {
      const to = axes.map((axis, i) => (o[i] as number) * axis.stride + (k[i] as number) * axis.dilation - axis.padBegin);
      if (to.some((position, i) => position < 0 || position >= (x[i + 2] as number))) continue;
      const place = at(x, [n, input, ...to]);
      result[place] = (result[place] as number) + (dys[at(dy, [n, channel, ...o])] as number) * (ws[at(w, [channel, c, ...k])] as number);
    }
  }
  return result;
}

for (const method of inputGradientMethods) {
  describe(method, () => {
    for (const setting of settings.filter(({ geometry }) => method !== "convolution" || isConvolutionOfTurned(geometry))) {
      test(setting.about, async () => {
        const op = new OpBuilder();
        const [x, w, dy] = [op.input("x", "float32", setting.x), op.input("w", "float32", setting.w), op.input("dy", "float32", setting.dy)];
        const dx = convInputGradient(op, setting.geometry, { x, w, dy }, method);
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
