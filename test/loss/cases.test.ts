/** Every reference case, as a graph of its own sizes and as one of symbolic sizes. */

import { describe, expect, test } from "vitest";
import { evaluate, inputsOf, type LabelType, type LossCase, type LossRun, readCases } from "./harness.ts";

function near(got: number, want: number, tolerance: number, what: string): void {
  expect(Math.abs(got - want), `${what}: got ${got}, want ${want}`).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(want)));
}

function labelTypeOf(data: ArrayLike<number>): LabelType {
  const values = Array.from(data);
  return values.every((value) => value >= 0 && value <= 255) ? "uint8" : values.every((value) => Math.abs(value) < 2 ** 31) ? "int32" : "int64";
}

function checkScalars({ expect: want, tolerance }: LossCase, got: LossRun): void {
  for (const name of ["loss", "ce", "lovasz"] as const) {
    if (typeof want[name] === "number") near(got[name], want[name], tolerance, name);
  }
  const exact = { valid: got.valid, kept: got.kept, invalid_labels: got.invalidLabels, finite: got.finite };
  for (const [name, value] of Object.entries(exact)) if (want[name] !== null) expect(value, name).toBe(want[name]);
  const threshold = want["threshold"];
  if (threshold === null || threshold === undefined) return;
  const list = [threshold].flat() as number[];
  expect(got.thresholdShape).toEqual(Array.isArray(threshold) ? [list.length] : []);
  list.forEach((value, i) => {
    near(got.threshold[i] ?? Number.NaN, value, tolerance, "threshold");
  });
}

function checkGradient(one: LossCase, got: LossRun, labels: ArrayLike<number>): void {
  const { expect: want, tolerance } = one;
  const [, classes = 1, height = 1, width = 1] = one.logits.shape;
  const area = height * width;
  const at = (pixel: number, c: number) => got.gradient[(Math.floor(pixel / area) * classes + c) * area + (pixel % area)] ?? Number.NaN;
  if (want.gradient !== null) {
    const data = want.gradient.data;
    const room = tolerance * data.reduce((a, b) => Math.max(a, Math.abs(b)), 0) + 1e-12;
    let worst = 0;
    data.forEach((value, i) => {
      const error = Math.abs((got.gradient[i] ?? Number.NaN) - value);
      worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
    });
    expect(got.gradient.length).toBe(data.length);
    expect(worst, "gradient").toBeLessThanOrEqual(room);
  }
  const largest = want["gradientMaxAbs"] as number | undefined;
  for (const [index, value] of (want["gradientProbes"] as [number, number][] | undefined) ?? []) {
    expect(Math.abs((got.gradient[index] ?? Number.NaN) - value), `probe ${index}`).toBeLessThanOrEqual(tolerance * (largest ?? 1) + 1e-12);
  }
  const sumAbs = want["gradientSumAbs"] as number | undefined;
  if (sumAbs !== undefined)
    near(
      got.gradient.reduce((a, b) => a + Math.abs(b), 0),
      sumAbs,
      tolerance,
      "sum of |gradient|",
    );
  const blocks = (want["gradientBlocks"] as { pixels: number[]; sum: number[] }[] | undefined) ?? [];
  for (const { pixels, sum } of blocks) {
    sum.forEach((value, c) =>
      near(
        pixels.reduce((a, pixel) => a + at(pixel, c), 0),
        value,
        tolerance,
        `block of ${pixels.length}, class ${c}`,
      ),
    );
  }
  const own = want["gradientTrueClassSum"] as number | undefined;
  if (own !== undefined) {
    const sum = Array.from(labels).reduce((a, y, pixel) => a + (y >= 0 && y < classes ? at(pixel, y) : 0), 0);
    near(sum, own, tolerance, "gradient at the true classes");
  }
}

const cases = readCases();

const forms = [
  { name: "fixed sizes", dynamic: false, provider: "any" },
  { name: "dynamic sizes", dynamic: true, provider: "any" },
  { name: "fixed sizes, for the CPU", dynamic: false, provider: "cpu" },
] as const;

describe.each(forms)("reference cases, $name", ({ dynamic, provider }) => {
  test.each(cases.map((one) => [one.name, one] as const))("%s", async (_, one) => {
    const { logits, labels } = inputsOf(one);
    const setup = { options: one.options, dynamic, provider, labelType: labelTypeOf(labels.data) };
    const got = await evaluate(setup, logits, labels);
    checkScalars(one, got);
    checkGradient(one, got, labels.data);
  });
});

test("a preset and its overrides resolve to the options of the case", async () => {
  for (const one of cases.filter(({ preset }) => preset !== undefined)) {
    const { logits, labels } = inputsOf(one);
    const got = await evaluate({ options: one.presetOverrides ?? {}, preset: one.preset as string }, logits, labels);
    checkScalars(one, got);
  }
});
