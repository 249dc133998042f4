/** The loop on the bundled model: the loss falls, and a run taken up from a checkpoint ends in the same bits. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Manifest } from "../../src/attach/manifest.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { decodeCheckpoint, encodeCheckpoint, freshProgress } from "../../src/train/checkpoint.ts";
import { Dataset, trainingBatch } from "../../src/train/dataset.ts";
import { evaluate } from "../../src/train/evaluate.ts";
import { layoutOf } from "../../src/train/layout.ts";
import { type LoopSettings, type StepMetrics, train } from "../../src/train/loop.ts";
import { pairFiles } from "../../src/train/pairing.ts";
import { openSession, runtimeState, type Session, stateTensors } from "../../src/train/session.ts";

const demo = fileURLToPath(new URL("../../examples/demo/", import.meta.url));
const settings: LoopSettings = {
  seed: 1,
  batch: 2,
  size: [96, 160],
  augmentation: { scale: [0.5, 2], flip: true },
  validateEvery: 3,
  schedule: { kind: "poly", rate: 0.01, steps: 6, warmup: 1 },
};

let manifest: Manifest;
let state: ReturnType<typeof attach>["state"];
let step: Session;
let evaluation: Session;
let dataset: Dataset;

beforeAll(async () => {
  const result = attach(modelFromProto(decodeProto(readFileSync(`${demo}model.onnx`))));
  manifest = { source: { path: "", sha256: "" }, fingerprint: "f", ...result.manifest };
  state = result.state;
  step = await openSession(encodeModel(result.graphs.train_step));
  evaluation = await openSession(encodeModel(result.graphs.eval_step));
  const { pairs } = pairFiles(`${demo}images`, `${demo}masks`);
  dataset = new Dataset(pairs.slice(0, 5), layoutOf(manifest));
});

describe("batches", () => {
  test("depend on seed and step alone", () => {
    const other = new Dataset(dataset.pairs, dataset.layout);
    trainingBatch(other, settings, 9);
    expect(trainingBatch(other, settings, 3)).toEqual(trainingBatch(dataset, settings, 3));
    expect(trainingBatch(other, { ...settings, seed: 2 }, 3)).not.toEqual(trainingBatch(dataset, settings, 3));
  });

  test("every epoch sees every picture once", () => {
    for (const epoch of [0, 1, 2]) {
      const seen = Array.from({ length: 5 }, (_, i) => dataset.indexAt(1, epoch * 5 + i));
      expect([...seen].sort()).toEqual([0, 1, 2, 3, 4]);
    }
  });
});

describe("loop", () => {
  test("a run taken up half way ends in the same bits", async () => {
    const metrics: StepMetrics[] = [];
    const saved: Uint8Array[] = [];
    const whole = await train(
      step,
      dataset,
      settings,
      { state: await runtimeState(state), progress: freshProgress(1) },
      {
        onStep: (entry) => metrics.push(entry),
        save: (checkpoint) => saved.push(new Uint8Array(Buffer.concat(encodeCheckpoint({ fingerprint: "f", ...checkpoint })))),
      },
    );
    expect(metrics.map((entry) => entry.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(metrics.every(({ finite, loss }) => finite && Number.isFinite(loss))).toBe(true);
    expect(saved).toHaveLength(2);
    const half = decodeCheckpoint(saved[0] as Uint8Array, "c", manifest);
    expect(half.progress).toMatchObject({ step: 3, position: 6 });
    const rest = await train(step, dataset, settings, { state: await runtimeState(half.state), progress: half.progress });
    expect(rest.progress).toEqual(whole.progress);
    const [a, b] = [stateTensors(whole.state), stateTensors(rest.state)];
    for (const [name, { bytes }] of a) expect(Buffer.compare(bytes, b.get(name)?.bytes ?? new Uint8Array()), name).toBe(0);
  });

  test("the initial state is not written to", async () => {
    const before = Buffer.from(state.get("params")?.bytes ?? []);
    await train(step, dataset, { ...settings, schedule: { ...settings.schedule, steps: 1 } }, { state: await runtimeState(state), progress: freshProgress(0) });
    expect(Buffer.compare(before, state.get("params")?.bytes ?? new Uint8Array())).toBe(0);
  });

  test("a rate that is no number stops the run with an error", async () => {
    const broken = { ...settings, schedule: { ...settings.schedule, rate: Number.NaN, steps: 30, warmup: 0 } };
    const start = { state: await runtimeState(state), progress: freshProgress(0) };
    await expect(train(step, dataset, broken, start)).rejects.toMatchObject({ code: "E421" });
  });
});

describe("evaluation", () => {
  test("does not depend on the size of the batch", async () => {
    const params = await runtimeState(state);
    const [one, many] = [await evaluate(evaluation, params, dataset, { batch: 1 }), await evaluate(evaluation, params, dataset, { batch: 4 })];
    expect(one.confusion).toEqual(many.confusion);
    expect(one.miou).toBeGreaterThan(0.1);
    expect(readdirSync(`${demo}images`).length).toBeGreaterThan(dataset.size);
  });
});
