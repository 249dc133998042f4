/**
 * Random small inputs, most of them degenerate: nothing crashes, no output is NaN, and `finite` tells the truth. 500
 * of them, or 10 000 where OHEMGEN_LONG is set.
 */

import { describe, expect, test } from "vitest";
import { lossModel } from "../../src/loss/graph.ts";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import { long } from "../long.ts";
import { type Array4, type LossRun, openModel, runLoss } from "./harness.ts";

const total = long ? 10_000 : 500;

interface Setup {
  readonly channels: number;
  readonly options: LossOptions;
}

const setups: readonly Setup[] = [
  { channels: 4, options: {} },
  { channels: 3, options: { lovasz: { method: "histogram", bins: 16 } } },
  { channels: 2, options: { lovasz: { classes: "all", perImage: true }, ce: { budget: "image", atCut: "include" } } },
  { channels: 5, options: { lovasz: { classes: [1, 4], ignore: "none", classWeights: [1, 0, 1, 2, 0.5] }, ce: { normalizer: "all" } } },
  {
    channels: 3,
    options: {
      ce: { hardness: "loss", threshold: 0, minKept: { fraction: "1/5", of: "all" } },
      lovasz: { classes: "all", method: "histogram", perImage: true },
    },
  },
  { channels: 3, options: { ce: { classWeights: [0, 0, 3], normalizer: "weights", labelSmoothing: 0.1 } } },
  { channels: 2, options: { ce: { mining: "off", normalizer: "valid" }, lovasz: { weight: 0 }, ignoreIndex: 0 } },
  { channels: 3, options: { ce: { threshold: 2, minKept: 1000, hardness: "loss", budget: "image" }, upsample: "align_corners" } },
  { channels: 1, options: {} },
  { channels: 1, options: { lovasz: { binary: "hinge-elu", classes: "all", perImage: true }, ce: { classWeights: [0, 2], normalizer: "weights" } } },
  { channels: 1, options: { lovasz: { binary: "sigmoid", ignore: "none" }, ce: { labelSmoothing: 0.2, hardness: "loss" } } },
  { channels: 1, options: { lovasz: { binary: "sigmoid", method: "histogram", bins: 1, classes: "all" }, ce: { atCut: "include" } } },
];

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const logitKinds: readonly ((next: () => number, at: number) => number)[] = [
  (next) => next() * 6 - 3,
  () => 0,
  (next) => (next() < 0.5 ? -50 : 50),
  (next) => (next() - 0.5) * 2e4,
  (next) => (next() < 0.5 ? -1e30 : 1e30),
  (next) => next() * 1e-40,
  (_, at) => (at % 7 === 0 ? 104 : -104),
  (next) => Math.round(next() * 2) * 0.5,
];

const broken = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

const labelKinds: readonly ((next: () => number, classes: number) => number)[] = [
  (next, classes) => (next() < 0.2 ? 255 : Math.floor(next() * classes)),
  () => 255,
  () => 0,
  (_, classes) => classes - 1,
  (next, classes) => Math.floor(next() * (classes + 3)) - 1,
  (next) => (next() < 0.95 ? 255 : 1),
  (next) => (next() < 0.5 ? 1000 : -7),
];

interface Input {
  readonly logits: Array4;
  readonly labels: Array4;
  /** All logits are numbers. */
  readonly sound: boolean;
}

function randomInput(next: () => number, channels: number): Input {
  const below = (n: number) => Math.floor(next() * n);
  const [images, height, width] = [1 + below(3), 1 + below(7), 1 + below(7)];
  const upsampled = next() < 0.3;
  const [h, w] = upsampled ? [1 + below(height), 1 + below(width)] : [height, width];
  const logitOf = logitKinds[below(logitKinds.length)] as (typeof logitKinds)[number];
  const labelOf = labelKinds[below(labelKinds.length)] as (typeof labelKinds)[number];
  const data = Float32Array.from({ length: images * channels * h * w }, (_, i) => logitOf(next, i));
  const sound = next() > 0.1;
  if (!sound) data[below(data.length)] = broken[below(3)] as number;
  const labels = Array.from({ length: images * height * width }, () => labelOf(next, Math.max(2, channels)));
  return { logits: { shape: [images, channels, h, w], data }, labels: { shape: [images, height, width], data: labels }, sound };
}

function check(got: LossRun, { labels, sound }: Input): void {
  const known = got.valid + got.invalidLabels;
  expect(got.finite).toBe(sound);
  expect(known).toBeLessThanOrEqual(labels.data.length);
  if (!sound) return;
  expect(got.kept).toBeLessThanOrEqual(got.valid);
  for (const value of [got.loss, got.ce, got.lovasz]) expect(value).toBeGreaterThanOrEqual(-1e-6);
  for (const value of [got.loss, got.ce, got.lovasz, ...got.threshold]) expect(Number.isFinite(value)).toBe(true);
  expect(got.gradient.every(Number.isFinite)).toBe(true);
  if (got.valid === 0) {
    expect([got.loss, got.ce, got.lovasz, got.kept]).toEqual([0, 0, 0, 0]);
    expect(got.gradient.every((value) => value === 0)).toBe(true);
  }
}

describe(`${total} degenerate inputs`, () => {
  test.each(setups.map((setup, i) => ({ ...setup, i })))("$channels channels, $options", async ({ channels, options, i }) => {
    const resolved = resolveLossOptions(options);
    const session = await openModel(
      lossModel("ohem-lovasz", { logitsShape: ["N", channels, "h", "w"], labelSize: ["H", "W"], labelType: "int32", options: resolved }),
    );
    const next = generator(i + 1);
    for (let at = 0; at < Math.ceil(total / setups.length); at++) {
      const input = randomInput(next, channels);
      check(await runLoss(session, input.logits, input.labels), input);
    }
    await session.release();
  });
});
