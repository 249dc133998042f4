/** What must hold for any input, on real graphs; each of these caught a bug in a public implementation. */

import fc from "fast-check";
import type { InferenceSession } from "onnxruntime-node";
import { afterAll, describe, expect, test } from "vitest";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import { type Array4, evaluate, type LossRun, type LossSetup, modelFor, openModel, runLoss } from "./harness.ts";
import { type Input, makeInput, numbers } from "./inputs.ts";
import { lossReference } from "./reference.ts";

const sessions = new Map<string, Promise<InferenceSession>>();

/** One session per set of options, for all sizes. */
async function run(options: LossOptions, logits: Array4, labels: Array4): Promise<LossRun> {
  const classes = logits.shape[1] as number;
  const key = `${classes} ${JSON.stringify(options)}`;
  const setup: LossSetup = { options, dynamic: true };
  const session = sessions.get(key) ?? openModel(modelFor(setup, [1, classes, 1, 1], [1, 1, 1]));
  sessions.set(key, session);
  return runLoss(await session, logits, labels);
}

afterAll(async () => {
  for (const session of sessions.values()) await (await session).release();
});

const sizes = fc.record({
  seed: fc.integer(),
  n: fc.integer({ min: 1, max: 3 }),
  h: fc.integer({ min: 1, max: 9 }),
  w: fc.integer({ min: 1, max: 11 }),
  scale: fc.constantFrom(0.3, 1, 4),
});
const small = sizes.map(({ seed, n, h, w, scale }) => makeInput(seed, n, 4, h, w, scale));

function closeTo(got: number, want: number, tolerance = 2e-5): void {
  expect(Math.abs(got - want), `got ${got}, want ${want}`).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(want)));
}

const runs = (count: number) => ({ numRuns: count, seed: 20 });

describe("any options, any input", () => {
  const ceOptions = fc.record(
    {
      weight: fc.constantFrom(0, 0.5, 1),
      threshold: fc.constantFrom(0, 0.1, 0.6, 1.5),
      minKept: fc.oneof(
        fc.integer({ min: 0, max: 60 }),
        fc.record({ fraction: fc.constantFrom("1/16", 0.29, "2/3", "123456789012/1234567890123"), of: fc.constantFrom("all" as const, "valid" as const) }),
        fc.record({ perImage: fc.integer({ min: 0, max: 30 }) }),
      ),
      atCut: fc.constantFrom("exclude" as const, "include" as const),
      budget: fc.constantFrom("batch" as const, "image" as const),
      hardness: fc.constantFrom("probability" as const, "loss" as const),
      mining: fc.constantFrom("on" as const, "on" as const, "off" as const),
      normalizer: fc.constantFrom("kept" as const, "weights" as const, "valid" as const, "all" as const),
      labelSmoothing: fc.constantFrom(0, 0.1, 1),
    },
    { requiredKeys: [] },
  );
  const lovaszOptions = fc.record(
    {
      weight: fc.constantFrom(0, 1, 2.5),
      perImage: fc.boolean(),
      ignore: fc.constantFrom("same" as const, "none" as const),
      bins: fc.constantFrom(1, 10, 1024, 3000),
    },
    { requiredKeys: [] },
  );
  const drawn = fc.record({
    channels: fc.constantFrom(1, 2, 4),
    ce: ceOptions,
    lovasz: lovaszOptions,
    upsample: fc.constantFrom("half_pixel" as const, "align_corners" as const),
    classes: fc.constantFrom("present" as const, "all" as const, [1]),
    form: fc.constantFrom("hinge" as const, "hinge-elu" as const, "sigmoid" as const),
    method: fc.constantFrom("exact" as const, "histogram" as const),
    weights: fc.constantFrom(null, [0.5, 2], [0, 0]),
    size: fc.constantFrom("small" as const, "large" as const, "upsampled" as const, "same" as const),
    seed: fc.integer(),
    dynamic: fc.boolean(),
  });

  test("the graph agrees with the definitions in float64", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(drawn, async (draw) => {
        const { channels: c, seed } = draw;
        const shape = { small: [2, c, 5, 7], large: [2, c, 29, 41], upsampled: [2, c, 4, 5], same: [1, c, 8, 16] }[draw.size] as [
          number,
          number,
          number,
          number,
        ];
        const target = { small: [5, 7], large: [29, 41], upsampled: [9, 10], same: [8, 16] }[draw.size] as [number, number];
        const input = makeInput(seed, shape[0], c, shape[2], shape[3], 2, target, seed % 7 === 0 ? 1 : 0.15);
        const classWeights = draw.weights && [...draw.weights, 1.25, 3].slice(0, Math.max(2, c));
        const method = c === 1 && draw.form !== "sigmoid" ? ("exact" as const) : draw.method;
        const options: LossOptions = {
          ce: { ...draw.ce, classWeights },
          lovasz: { ...draw.lovasz, classes: draw.classes, binary: draw.form, method, classWeights },
          upsample: draw.upsample,
        };
        const got = await evaluate({ options, dynamic: draw.dynamic, labelType: "uint8" }, input.logits, input.labels);
        const want = lossReference(resolveLossOptions(options), input.logits, input.labels);
        expect(got.finite).toBe(true);
        for (const name of ["loss", "ce", "lovasz"] as const) closeTo(got[name], want[name], 3e-5);
        expect([got.valid, got.kept]).toEqual([want.valid, want.kept]);
        want.threshold.forEach((value, i) => closeTo(got.threshold[i] as number, value));
        const largest = want.gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const worst = want.gradient.reduce((a, b, i) => Math.max(a, Math.abs(b - (got.gradient[i] as number))), 0);
        expect(worst).toBeLessThanOrEqual(1e-4 * largest + 1e-9);
      }),
      runs(150),
    );
  });

  test("extreme logits give finite numbers", async () => {
    const extreme = fc.constantFrom(0, 1e-30, 50, -50, 1e4, -1e4, 1e30, -1e30);
    for (const c of [1, 3]) {
      await fc.assert(
        fc.asyncProperty(
          fc.array(extreme, { minLength: 6 * c, maxLength: 6 * c }),
          fc.array(fc.constantFrom(0, 1, 255), { minLength: 6, maxLength: 6 }),
          async (values, classes) => {
            const got = await run({}, { shape: [1, c, 2, 3], data: values }, { shape: [1, 2, 3], data: classes });
            expect([got.finite, Number.isFinite(got.loss), got.gradient.every(Number.isFinite)]).toEqual([true, true, true]);
          },
        ),
        runs(40),
      );
    }
  });
});

describe("Lovász", () => {
  const only: LossOptions = { ce: { weight: 0 } };

  test("hard predictions: the mean over present classes of 1 − IoU", async () => {
    await fc.assert(
      fc.asyncProperty(small, async ({ logits, labels }) => {
        const [n, c, h, w] = logits.shape as [number, number, number, number];
        const hard = Float32Array.from(logits.data, () => 0);
        const inter = new Array<number>(c).fill(0);
        const union = new Array<number>(c).fill(0);
        const present = new Array<boolean>(c).fill(false);
        Array.from(labels.data).forEach((y, pixel) => {
          const [image, at] = [Math.floor(pixel / (h * w)), pixel % (h * w)];
          const scores = Array.from({ length: c }, (_, k) => logits.data[(image * c + k) * h * w + at] as number);
          const best = scores.indexOf(Math.max(...scores));
          hard[(image * c + best) * h * w + at] = 200;
          if (y === 255) return;
          present[y] = true;
          for (const k of new Set([y, best])) union[k] = (union[k] as number) + 1;
          if (y === best) inter[y] = (inter[y] as number) + 1;
        });
        expect(hard.length).toBe(n * c * h * w);
        const terms = present.flatMap((is, k) => (is ? [1 - (inter[k] as number) / (union[k] as number)] : []));
        const want = terms.length === 0 ? 0 : terms.reduce((a, b) => a + b, 0) / terms.length;
        closeTo((await run(only, { ...logits, data: hard }, labels)).lovasz, want, 1e-6);
      }),
      runs(60),
    );
  });

  test("a histogram of b bins is below the exact value by at most 1/b, never above", async () => {
    const bins = fc.constantFrom(4, 16, 64);
    await fc.assert(
      fc.asyncProperty(small, bins, async ({ logits, labels }, b) => {
        const exact = (await run(only, logits, labels)).lovasz;
        const counted = (await run({ ...only, lovasz: { method: "histogram", bins: b } }, logits, labels)).lovasz;
        expect(exact - counted).toBeGreaterThanOrEqual(-2e-6);
        expect(exact - counted).toBeLessThanOrEqual(1 / b + 2e-6);
      }),
      runs(60),
    );
  });

  test("changes by no more than the largest change of an error", async () => {
    await fc.assert(
      fc.asyncProperty(small, fc.integer(), fc.constantFrom(0.01, 0.5), async ({ logits, labels }, seed, size) => {
        const next = numbers(seed);
        const moved = Float32Array.from(logits.data, (value) => value + size * (next() - 0.5));
        const [a, b] = [await run(only, logits, labels), await run(only, { ...logits, data: moved }, labels)];
        const change = largestProbabilityChange(logits, moved);
        expect(Math.abs(a.lovasz - b.lovasz)).toBeLessThanOrEqual(change + 2e-6);
      }),
      runs(40),
    );
  });

  test("per image is the mean of the images; the batch is not", async () => {
    const input = makeInput(5, 3, 4, 6, 7, 1.5);
    const perImage = { ...only, lovasz: { perImage: true } };
    const together = (await run(perImage, input.logits, input.labels)).lovasz;
    const each: number[] = [];
    for (let i = 0; i < 3; i++) each.push((await run(only, ...imageOf(input, i))).lovasz);
    closeTo(together, each.reduce((a, b) => a + b, 0) / 3);
    expect(Math.abs(together - (await run(only, input.logits, input.labels)).lovasz)).toBeGreaterThan(1e-3);
  });
});

function largestProbabilityChange(logits: Array4, moved: Float32Array): number {
  const [n, c, h, w] = logits.shape as [number, number, number, number];
  let largest = 0;
  for (let pixel = 0; pixel < n * h * w; pixel++) {
    const start = Math.floor(pixel / (h * w)) * c * h * w + (pixel % (h * w));
    const p = [logits.data, moved].map((data) => {
      const e = Array.from({ length: c }, (_, k) => Math.exp(data[start + k * h * w] as number));
      const sum = e.reduce((a, b) => a + b, 0);
      return e.map((value) => value / sum);
    }) as [number[], number[]];
    p[0].forEach((value, k) => (largest = Math.max(largest, Math.abs(value - (p[1][k] as number)))));
  }
  return largest;
}

function imageOf({ logits, labels }: Input, image: number): [Array4, Array4] {
  const [, c, h, w] = logits.shape as [number, number, number, number];
  const part = (data: ArrayLike<number>, length: number) => Array.from(data).slice(image * length, (image + 1) * length);
  return [
    { shape: [1, c, h, w], data: part(logits.data, c * h * w) },
    { shape: [1, h, w], data: part(labels.data, h * w) },
  ];
}

/** Pixels of all images in the order given, as one row. */
function pick({ logits, labels }: Input, order: readonly number[]): Input {
  const [, c, h, w] = logits.shape as [number, number, number, number];
  const at = (pixel: number, k: number) => logits.data[(Math.floor(pixel / (h * w)) * c + k) * h * w + (pixel % (h * w))] as number;
  const data = Array.from({ length: c }, (_, k) => order.map((pixel) => at(pixel, k))).flat();
  return {
    logits: { shape: [1, c, 1, order.length], data },
    labels: { shape: [1, 1, order.length], data: order.map((pixel) => labels.data[pixel] as number) },
  };
}

describe("pixels", () => {
  const options: LossOptions = { ce: { threshold: 0.2, minKept: { fraction: "1/3", of: "valid" } } };

  test("their order does not matter", async () => {
    await fc.assert(
      fc.asyncProperty(small, fc.integer(), async (input, seed) => {
        const next = numbers(seed);
        const order = Array.from(input.labels.data, (_, i) => [next(), i] as const)
          .sort(([a], [b]) => a - b)
          .map(([, i]) => i);
        const [a, b] = [await run(options, input.logits, input.labels), await run(options, ...inOrder(pick(input, order)))];
        closeTo(b.loss, a.loss, 2e-6);
        expect(b.kept).toBe(a.kept);
      }),
      runs(40),
    );
  });

  test("masking is the same as leaving out", async () => {
    await fc.assert(
      fc.asyncProperty(small, async (input) => {
        const order = Array.from(input.labels.data).flatMap((y, i) => (y === 255 ? [] : [i]));
        if (order.length === 0) return;
        const [a, b] = [await run(options, input.logits, input.labels), await run(options, ...inOrder(pick(input, order)))];
        closeTo(b.loss, a.loss, 2e-6);
        expect([b.kept, b.threshold]).toEqual([a.kept, a.threshold]);
      }),
      runs(40),
    );
  });

  test.each(["same", "none"] as const)("the gradient sums to 0 over the classes; at ignored pixels, ignore %s", async (ignore) => {
    await fc.assert(
      fc.asyncProperty(small, async ({ logits, labels }) => {
        const got = await run({ lovasz: { ignore } }, logits, labels);
        const [, c, h, w] = logits.shape as [number, number, number, number];
        const scale = got.gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        Array.from(labels.data).forEach((y, pixel) => {
          const start = Math.floor(pixel / (h * w)) * c * h * w + (pixel % (h * w));
          const each = Array.from({ length: c }, (_, k) => got.gradient[start + k * h * w] as number);
          expect(Math.abs(each.reduce((a, b) => a + b, 0))).toBeLessThanOrEqual(1e-5 * scale);
          if (y === 255 && ignore === "same") expect(each.every((value) => value === 0)).toBe(true);
        });
      }),
      runs(30),
    );
  });
});

const inOrder = ({ logits, labels }: Input): [Array4, Array4] => [logits, labels];
