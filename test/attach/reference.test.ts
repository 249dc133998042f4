/** Losses, gradients and steps of every reference model against float64 PyTorch. */

import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { AttachResult } from "../../src/attach/attach.ts";
import { availableModels } from "../models.ts";
import { floats, number, openSession, toRuntime } from "../run-graph.ts";
import { attachReference, batchOf, errorsInBounds, feedsOf, lossesOf, type Reference, readReference } from "./reference.ts";

const attempts = 24;

type Outputs = Awaited<ReturnType<Awaited<ReturnType<typeof openSession>>["run"]>>;

async function runGradient(dir: string, result: AttachResult, enough: (out: Outputs, attempt: number) => boolean) {
  const session = await openSession(result.graphs.gradient);
  const statistics = result.state.get("running_stats");
  const fixed = statistics === undefined ? {} : { running_stats: toRuntime(statistics) };
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (enough(await session.run({ ...fixed, ...feedsOf(dir, result, attempt) }), attempt)) break;
  }
  await session.release();
}

/** Parameters whose error is beyond its bound, and how far. */
function failingGradients(result: AttachResult, reference: Reference, flat: Float32Array): Map<string, string> {
  const failing = [...errorsInBounds(result, reference, flat)].filter(([, error]) => !(error <= 1));
  return new Map(failing.map(([name, error]) => [name, `${error.toPrecision(3)} times its bound`]));
}

/** Loss and gradients; every parameter must be within its bound in at least one try. Returns the first outputs. */
async function checkAgainst(dir: string, result: AttachResult, reference: Reference): Promise<Outputs> {
  const { loss } = reference;
  let first: Outputs | undefined;
  let failing = new Map<string, string>();
  const counts: number[] = [];
  await runGradient(dir, result, (out, attempt) => {
    const now = failingGradients(result, reference, floats(out["params.grad"]));
    counts.push(now.size);
    failing = attempt === 0 ? now : new Map([...failing].filter(([name]) => now.has(name)));
    first ??= out;
    return failing.size === 0;
  });
  if (counts.length > 1) console.log(`${dir.split("/").at(-1)}: parameters beyond their bound per try: ${counts.join(", ")}`);
  expect([...failing]).toEqual([]);
  const out = first as Outputs;
  for (const [name, want] of [
    ["loss", loss.total],
    ["ce", loss.ce],
    ["lovasz", loss.lovasz],
  ] as const) {
    expect(Math.abs(number(out[name]) - want) / want, name).toBeLessThan(1e-5);
  }
  expect(number(out["valid"])).toBe(loss.n_valid);
  expect(number(out["kept"])).toBe(loss.n_kept);
  expect(number(out["finite"])).toBe(1);
  return out;
}

describe.each(availableModels())("$name", ({ dir }) => {
  const reference = readReference(dir);

  test("loss and gradients", async () => {
    const result = attachReference(dir, reference);
    await checkAgainst(dir, result, reference);
  });

  test.each(["sgd", "adamw"] as const)("three steps of %s", async (kind) => {
    const { hyper, losses, float32_losses: single } = reference.steps[kind];
    const optimizer = kind === "sgd" ? { kind } : { kind, weightDecay: 0.01, decayExclude: [""] };
    const result = attachReference(dir, reference, { optimizer });
    const session = await openSession(result.graphs.train_step);
    const allowed = losses.map((want, i) => Math.max(1e-3, (4 * Math.abs((single[i] as number) - want)) / want));
    const tried: string[] = [];
    for (let attempt = 0; attempt < attempts; attempt++) {
      const got = await lossesOf(session, result, feedsOf(dir, result, attempt), hyper.lr, 3);
      const errors = losses.map((want, i) => Math.abs((got[i] as number) - want) / want);
      tried.push(errors.map((error) => error.toExponential(1)).join(" "));
      if (errors.every((error, i) => error <= (allowed[i] as number))) break;
      expect(attempt, `relative errors of the losses per attempt:\n${tried.join("\n")}\nallowed: ${allowed}`).toBeLessThan(attempts - 1);
    }
    await session.release();
    if (tried.length > 1) console.log(`${dir.split("/").at(-1)}, ${kind}: errors of the losses per attempt: ${tried.join("; ")}`);
  });

  test("confusion matrix and prediction", async () => {
    const result = attachReference(dir, reference);
    const session = await openSession(result.graphs.eval_step);
    const [image] = result.graphs.eval_step.graph.inputs;
    const batch = batchOf(dir, image?.name ?? "");
    const out = await session.run({ ...batch, params: toRuntime(result.state.get("params") as never) });
    await session.release();
    const want = reference.loss.confusion.flat();
    const got = Array.from(out["confusion"]?.data as BigInt64Array, Number);
    // Two logits that differ by rounding only may swap: a handful of pixels at most.
    const moved = got.reduce((sum, count, i) => sum + Math.abs(count - (want[i] as number)), 0);
    expect(moved).toBeLessThanOrEqual(4);
    expect(out["prediction"]?.dims).toEqual(batch["labels"]?.dims);
    expect(Math.abs(number(out["loss"]) - reference.loss.total) / reference.loss.total).toBeLessThan(1e-5);
  });

  if (!existsSync(`${dir}/ref-bn.json`)) return;
  test("batch statistics", async () => {
    const batchReference = readReference(dir, "ref-bn.json");
    const result = attachReference(dir, batchReference, { batchNorm: "batch" });
    const out = await checkAgainst(dir, result, batchReference);
    const next = floats(out["running_stats.next"]);
    expect(result.manifest.runningStatistics.map(({ name }) => name).sort()).toEqual(Object.keys(batchReference.bn_updates ?? {}).sort());
    for (const { name, offset } of result.manifest.runningStatistics) {
      const want = batchReference.bn_updates?.[name];
      for (const [at, value] of want?.unbiased_probes ?? want?.probes ?? []) {
        expect(Math.abs((next[offset + at] as number) - value), name).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(value)));
      }
    }
  });
});
