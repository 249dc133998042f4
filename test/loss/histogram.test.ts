/**
 * The histogram of large pictures is counted in pieces, and positions that fit int32 are written as a vector: a graph of
 * dynamic sizes does neither, and must say the same.
 */

import { expect, test } from "vitest";
import type { LossOptions } from "../../src/loss/options.ts";
import { evaluate, modelFor } from "./harness.ts";
import { trainedInput } from "./inputs.ts";

const shape = [2, 3, 1024, 768] as const;
const input = trainedInput(...shape, 6);

const scatters = (dynamic: boolean, options: LossOptions) =>
  modelFor({ options, dynamic }, shape, [shape[0], shape[2], shape[3]]).graph.nodes.filter(({ op }) => op === "ScatterElements").length;

test.each([
  ["one set", {}],
  ["a set per image, void pixels as background", { perImage: true, ignore: "none" }],
  ["some classes, all of them counted", { classes: [0, 2] }],
] satisfies [string, LossOptions["lovasz"]][])("in pieces as in one: %s", async (_, lovasz) => {
  const options: LossOptions = { lovasz: { ...lovasz, method: "histogram" } };
  expect(scatters(false, options)).toBeGreaterThan(scatters(true, options));
  const [fixed, open] = [await evaluate({ options }, input.logits, input.labels), await evaluate({ options, dynamic: true }, input.logits, input.labels)];
  // Sums over 1.5 M pixels, in the same order.
  expect(Math.abs(fixed.loss - open.loss)).toBeLessThan(1e-6);
  expect([fixed.valid, fixed.kept]).toEqual([open.valid, open.kept]);
  const largest = open.gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const worst = open.gradient.reduce((a, b, i) => Math.max(a, Math.abs(b - (fixed.gradient[i] ?? Number.NaN))), 0);
  expect(worst).toBeLessThan(1e-6 * largest);
});
