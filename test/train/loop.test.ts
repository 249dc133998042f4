/** The loop on the bundled model: the loss falls, and a run taken up from a checkpoint ends in the same bits. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Manifest } from "../../src/attach/manifest.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { openBatchQueue } from "../../src/train/batch-queue.ts";
import { type TrainingPlan, trainingBatch } from "../../src/train/batches.ts";
import { decodeCheckpoint, encodeCheckpoint, freshProgress } from "../../src/train/checkpoint.ts";
import { Dataset, type DatasetSpec } from "../../src/train/dataset.ts";
import { openDecodePool } from "../../src/train/decode-pool.ts";
import { diskPictures } from "../../src/train/disk-pictures.ts";
import { evaluate } from "../../src/train/evaluate.ts";
import { layoutOf } from "../../src/train/layout.ts";
import { type LoopHooks, type LoopSettings, type Outcome, type Position, type StepMetrics, train } from "../../src/train/loop.ts";
import { pairFiles } from "../../src/train/pairing.ts";
import { type Session, stateTensors } from "../../src/train/runtime.ts";
import { openSession, runtimeState } from "../../src/train/session.ts";
import { accumulatingStepper, fusedStepper } from "../../src/train/step.ts";

const demo = fileURLToPath(new URL("../../examples/demo/", import.meta.url));
const settings: LoopSettings & TrainingPlan = {
  seed: 1,
  batch: 2,
  size: [96, 160],
  augmentation: { scale: [0.5, 2], flip: true, color: 0.2 },
  validateEvery: 3,
  saveEvery: 2,
  patience: null,
  schedule: { kind: "poly", rate: 0.01, steps: 6, warmup: 1 },
};

let manifest: Manifest;
let state: ReadonlyMap<string, Tensor>;
let sessions: Record<"train_step" | "gradient" | "update" | "eval_step", Session>;
let data: DatasetSpec;

beforeAll(async () => {
  const result = attach(modelFromProto(decodeProto(readFileSync(`${demo}model.onnx`))));
  manifest = { source: { path: "", sha256: "" }, fingerprint: "f", ...result.manifest };
  state = result.state;
  const opened = Object.entries(result.graphs).map(async ([name, graph]) => [name, await openSession(encodeModel(graph))]);
  sessions = Object.fromEntries(await Promise.all(opened));
  const { pairs } = pairFiles(`${demo}images`, `${demo}masks`);
  data = { pairs: pairs.slice(0, 5), layout: layoutOf(manifest), labelMap: null };
});

async function run(start: Position, hooks: LoopHooks = {}, changed: Partial<typeof settings> = {}, accumulate = 1): Promise<Outcome> {
  const all = { ...settings, ...changed };
  const pool = openDecodePool({ training: data }, 0);
  const stepper =
    accumulate === 1 ? fusedStepper(sessions.train_step, data.layout) : accumulatingStepper(sessions.gradient, sessions.update, data.layout, accumulate);
  const queue = openBatchQueue(pool, all, start.progress.step * accumulate, all.schedule.steps * accumulate);
  return train({ stepper, queue, images: data.pairs.length }, all, start, hooks);
}

async function fresh(): Promise<Position> {
  return { state: await runtimeState(state), progress: freshProgress(1) };
}

function expectEqualStates(one: Position, other: Position): void {
  const [a, b] = [stateTensors(one.state), stateTensors(other.state)];
  for (const [name, { bytes }] of a) expect(Buffer.compare(bytes, b.get(name)?.bytes ?? new Uint8Array()), name).toBe(0);
}

describe("batches", () => {
  test("depend on seed and index alone", async () => {
    const [one, other] = [new Dataset(data, diskPictures), new Dataset(data, diskPictures)];
    await trainingBatch(other, settings, 9);
    const third = await trainingBatch(one, settings, 3);
    expect(await trainingBatch(other, settings, 3)).toEqual(third);
    expect(await trainingBatch(one, { ...settings, seed: 2 }, 3)).not.toEqual(third);
  });

  test("memory of another batch makes no difference", async () => {
    const dataset = new Dataset(data, diskPictures);
    const { batch } = await trainingBatch(dataset, settings, 3);
    const copy = { images: batch.images.slice(), labels: batch.labels.slice() };
    batch.images.fill(7);
    batch.labels.fill(3 as never);
    const again = await trainingBatch(dataset, settings, 3, batch);
    expect(again.batch.images).toBe(batch.images);
    expect({ images: again.batch.images, labels: again.batch.labels }).toEqual(copy);
  });

  test("every epoch sees every picture once", () => {
    const dataset = new Dataset(data, diskPictures);
    for (const epoch of [0, 1, 2]) {
      const seen = Array.from({ length: 5 }, (_, i) => dataset.indexAt(1, epoch * 5 + i));
      expect([...seen].sort()).toEqual([0, 1, 2, 3, 4]);
    }
  });

  test("a sample that cannot be used is a picture of ignored pixels, and is told", async () => {
    const pairs = data.pairs.map((pair, i) => (i === 2 ? { ...pair, image: `${demo}images/gone.png` } : pair));
    const dataset = new Dataset({ ...data, pairs }, diskPictures);
    const [good, bad] = [
      await trainingBatch(new Dataset(data, diskPictures), { ...settings, batch: 5 }, 0),
      await trainingBatch(dataset, { ...settings, batch: 5 }, 0),
    ];
    expect(bad.failures).toMatchObject([{ code: "E412", stem: "street-03" }]);
    const slot = Array.from({ length: 5 }, (_, i) => dataset.indexAt(1, i)).indexOf(2);
    const pixels = 96 * 160;
    for (let i = 0; i < 5; i++) {
      const labels = bad.batch.labels.subarray(i * pixels, (i + 1) * pixels);
      if (i === slot) expect(new Set(labels as Uint8Array)).toEqual(new Set([255]));
      else expect(labels).toEqual(good.batch.labels.subarray(i * pixels, (i + 1) * pixels));
    }
  });
});

describe("loop", () => {
  test("a run taken up half way ends in the same bits", async () => {
    const metrics: StepMetrics[] = [];
    const saved: Uint8Array[] = [];
    const whole = await run(await fresh(), {
      onStep: (entry) => metrics.push(entry),
      save: (checkpoint) => saved.push(new Uint8Array(Buffer.concat(encodeCheckpoint({ fingerprint: "f", ...checkpoint })))),
    });
    expect(whole.reason).toBe("done");
    expect(metrics.map((entry) => entry.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(metrics.every(({ finite, loss }) => finite && Number.isFinite(loss))).toBe(true);
    const steps = saved.map((bytes) => decodeCheckpoint(bytes, "c", manifest).progress.step);
    expect(steps).toEqual([2, 3, 4, 6]);
    for (const bytes of saved) {
      const part = decodeCheckpoint(bytes, "c", manifest);
      const rest = await run({ state: await runtimeState(part.state), progress: part.progress });
      expect(rest.progress).toEqual(whole.progress);
      expectEqualStates(rest, whole);
    }
  });

  test("accumulation averages gradients: twice the same batch is that batch", async () => {
    const constant = { schedule: { kind: "constant", rate: 0.01, steps: 1, warmup: 0 } } as const;
    const one = await run(await fresh(), {}, constant);
    const stepper = accumulatingStepper(sessions.gradient, sessions.update, data.layout, 2);
    const { batch } = await trainingBatch(new Dataset(data, diskPictures), settings, 0);
    const queue = { next: async () => ({ batch, failures: [] }), release: () => {} };
    const twice = await train({ stepper, queue, images: 5 }, { ...settings, ...constant }, await fresh());
    expect(twice.progress.position).toBe(4);
    const [a, b] = [one, twice].map(({ state: after }) => after.get("params")?.data as Float32Array);
    const worst = (a as Float32Array).reduce((most, value, i) => Math.max(most, Math.abs(value - (b?.[i] as number))), 0);
    // The same arithmetic in two graphs, where the runtime fuses differently.
    expect(worst).toBeLessThan(1e-6);
  });

  test("an accumulating run taken up half way ends in the same bits", async () => {
    const saved: Position[] = [];
    const steps = { schedule: { ...settings.schedule, steps: 4 }, saveEvery: 2, validateEvery: 4 };
    const keep = async (): Promise<Outcome> =>
      run(
        await fresh(),
        {
          save: ({ state: tensors, progress }) => {
            const copies = new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, bytes: tensor.bytes.slice() }]));
            if (progress.step === 2) void runtimeState(copies).then((copy) => saved.push({ state: copy, progress }));
          },
        },
        steps,
        2,
      );
    const whole = await keep();
    const rest = await run(saved[0] as Position, {}, steps, 2);
    expect(rest.progress).toEqual(whole.progress);
    expectEqualStates(rest, whole);
  });

  test("the initial state is not written to", async () => {
    const before = Buffer.from(state.get("params")?.bytes ?? []);
    await run(await fresh(), {}, { schedule: { ...settings.schedule, steps: 3 } });
    expect(before.equals(Buffer.from(state.get("params")?.bytes ?? []))).toBe(true);
  });

  test("stops after the step when asked to, and saves", async () => {
    const saved: number[] = [];
    let steps = 0;
    const outcome = await run(await fresh(), {
      onStep: () => steps++,
      stopping: () => steps === 2,
      save: ({ progress }) => saved.push(progress.step),
    });
    expect(outcome).toMatchObject({ reason: "interrupted", progress: { step: 2 } });
    expect(saved).toEqual([2]);
  });

  test("a validation that was stopped is made up for", async () => {
    const evaluation = { miou: 0.5 } as never;
    let progress = freshProgress(1);
    const first = await run(await fresh(), {
      validate: async () => undefined,
      save: (checkpoint) => {
        progress = checkpoint.progress;
      },
    });
    expect(first).toMatchObject({ reason: "interrupted", progress: { step: 3, validated: 0 } });
    const validated: number[] = [];
    await run(
      { ...first, progress },
      { validate: async () => evaluation, onValidation: ({ step }) => validated.push(step) },
      { schedule: { ...settings.schedule, steps: 4 } },
    );
    expect(validated).toEqual([3, 4]);
  });

  test("ends when validations no longer become better", async () => {
    const scores = [0.3, 0.4, 0.4, 0.2, 0.9];
    const best: boolean[] = [];
    const outcome = await run(
      await fresh(),
      { validate: async () => ({ miou: scores.shift() ?? null }) as never, save: (_, isBest) => best.push(isBest) },
      { patience: 2, validateEvery: 1, schedule: { ...settings.schedule, steps: 20 } },
    );
    expect(outcome).toMatchObject({ reason: "patience", progress: { step: 4, best: { step: 2, miou: 0.4 }, stale: 2 } });
    expect(best).toEqual([true, true, false, false]);
  });

  test("a rate that is no number stops the run with an error, saved", async () => {
    const saved: number[] = [];
    const broken = { schedule: { ...settings.schedule, rate: Number.NaN, steps: 30, warmup: 0 }, validateEvery: 30, saveEvery: 30 };
    await expect(run(await fresh(), { save: ({ progress }) => saved.push(progress.skipped) }, broken)).rejects.toMatchObject({ code: "E421" });
    expect(saved).toEqual([20]);
  });
});

describe("evaluation", () => {
  test("does not depend on the size of the batch", async () => {
    const params = await runtimeState(state);
    const pool = openDecodePool({ evaluation: data }, 0);
    const onFailure = () => {
      throw new Error("a failure");
    };
    const folder = { pool, layout: data.layout, size: 5, multiple: 1 };
    const [one, many] = [
      await evaluate(sessions.eval_step, params, folder, { batch: 1, onFailure }),
      await evaluate(sessions.eval_step, params, folder, { batch: 4, onFailure }),
    ];
    expect(one?.confusion).toEqual(many?.confusion);
    expect(one?.miou).toBeGreaterThan(0.1);
    expect(readdirSync(`${demo}images`).length).toBeGreaterThan(data.pairs.length);
  });
});
