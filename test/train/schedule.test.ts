/** Learning rates at the points that matter. */

import { describe, expect, test } from "vitest";
import { learningRate, type Schedule } from "../../src/train/schedule.ts";

const base: Schedule = { kind: "constant", rate: 0.1, steps: 100, warmup: 0 };

describe("schedule", () => {
  test("constant", () => {
    expect([0, 50, 99].map((step) => learningRate(base, step))).toEqual([0.1, 0.1, 0.1]);
  });

  test("warm-up rises evenly and reaches the rate when it is over", () => {
    const schedule: Schedule = { ...base, warmup: 4 };
    const rates = [0, 1, 2, 3, 4].map((step) => learningRate(schedule, step));
    rates.forEach((rate, step) => expect(rate).toBeCloseTo((0.1 * (step + 1)) / 5, 12));
  });

  test("poly is (1 − t)^0.9", () => {
    const schedule: Schedule = { ...base, kind: "poly" };
    expect(learningRate(schedule, 0)).toBe(0.1);
    expect(learningRate(schedule, 50)).toBeCloseTo(0.1 * 0.5 ** 0.9, 12);
    expect(learningRate(schedule, 99)).toBeGreaterThan(0);
  });

  test("cosine is half way in the middle", () => {
    const schedule: Schedule = { ...base, kind: "cosine", warmup: 20 };
    expect(learningRate(schedule, 20)).toBe(0.1);
    expect(learningRate(schedule, 60)).toBeCloseTo(0.05, 12);
    expect(learningRate(schedule, 99)).toBeGreaterThan(0);
  });

  test("never rises after the warm-up", () => {
    for (const kind of ["constant", "poly", "cosine"] as const) {
      const rates = Array.from({ length: 90 }, (_, i) => learningRate({ ...base, kind, warmup: 10 }, i + 10));
      expect(rates.every((rate, i) => rate <= (rates[i - 1] ?? 1))).toBe(true);
    }
  });
});
