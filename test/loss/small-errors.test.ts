/**
 * Long rows of a trained net: errors below 2⁻⁸ are counted on the grid of 2⁻²⁴, which the loss and the gradient must
 * not show. Short rows, and rows without small foreground errors, are sorted as a whole.
 */

import { describe, expect, test } from "vitest";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import { type Array4, evaluate, modelFor } from "./harness.ts";
import { trainedInput } from "./inputs.ts";
import { lossReference } from "./reference.ts";

async function expectReference(options: LossOptions, input: { logits: Array4; labels: Array4 }, dynamic: boolean, tolerance = 1e-5): Promise<void> {
  const want = lossReference(resolveLossOptions(options), input.logits, input.labels);
  const got = await evaluate({ options, dynamic }, input.logits, input.labels);
  expect(Math.abs(got.lovasz - want.lovasz)).toBeLessThan(1e-6);
  const largest = want.gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const worst = want.gradient.reduce((a, b, i) => Math.max(a, Math.abs(b - (got.gradient[i] ?? Number.NaN))), 0);
  expect(worst).toBeLessThan(tolerance * largest);
}

const branches = (options: LossOptions, shape: readonly number[]) =>
  modelFor({ options }, shape, [shape[0] as number, shape[2] as number, shape[3] as number]).graph.nodes.filter(({ op }) => op === "If").length;

describe.each([false, true])("dynamic sizes %s", (dynamic) => {
  test.each([
    ["one set", { ce: { weight: 0 } }],
    [
      "a set per image, weights, a class that is absent",
      { ce: { weight: 0 }, lovasz: { perImage: true, classes: "all", classWeights: [1, 2, 0.5, 1], weight: 0.7 } },
    ],
    ["void pixels as background", { ce: { weight: 0 }, lovasz: { ignore: "none", weight: 3 } }],
  ] satisfies [string, LossOptions][])("of a trained net: %s", async (_, options) => {
    await expectReference(options, trainedInput(2, 4, 260, 256, 24), dynamic);
  });

  test("an absent class of small probability counts with its largest one", async () => {
    const { logits, labels } = trainedInput(1, 3, 256, 260, 24);
    const absent = Float32Array.from({ length: 256 * 260 }, (_, i) => -8 - (i % 7));
    const data = Float32Array.from([...Array.from(logits.data), ...absent]);
    const input = { logits: { shape: [1, 4, 256, 260], data }, labels };
    await expectReference({ ce: { weight: 0 }, lovasz: { classes: "all" } }, input, dynamic);
    await expectReference({ ce: { weight: 0 }, lovasz: { classes: [3] } }, input, dynamic);
  });

  test("of a net that knows nothing", async () => {
    // 65 000 errors within a narrow range: neighbours swap in float32, and the gradient is a small difference of weights.
    await expectReference({ ce: { weight: 0 } }, trainedInput(1, 3, 256, 257, 0), dynamic, 1e-4);
  });
});

test("only long rows have the choice", () => {
  expect(branches({}, [1, 3, 256, 256])).toBe(1);
  expect(branches({}, [1, 3, 255, 256])).toBe(0);
  expect(branches({ lovasz: { method: "histogram" } }, [1, 3, 256, 256])).toBe(0);
  expect(branches({ lovasz: { perImage: true } }, [4, 3, 255, 256])).toBe(0);
});
