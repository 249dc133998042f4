/** Training on WebGPU in Node: the loss and the gradient are the CPU's, and so is a run of `train --ep webgpu`. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { attach } from "../src/attach/attach.ts";
import { encodeModel } from "../src/proto/encode.ts";
import { trainingBatch } from "../src/train/batches.ts";
import { Dataset } from "../src/train/dataset.ts";
import { diskPictures } from "../src/train/disk-pictures.ts";
import { batchFeeds } from "../src/train/evaluate.ts";
import { layoutOf } from "../src/train/layout.ts";
import { pairFiles } from "../src/train/pairing.ts";
import { stateFor, type Tensors } from "../src/train/runtime.ts";
import { openSession, type Provider } from "../src/train/session.ts";
import { type Workplace, workplace } from "./cli/command.ts";
import { type SmallData, smallNet, writeSmallData } from "./small-net.ts";
import { haveWebgpu } from "./webgpu.ts";

const gpuTest = test.skipIf(!haveWebgpu);

let small: SmallData;
let place: Workplace;
beforeAll(() => {
  small = writeSmallData(mkdtempSync(join(tmpdir(), "ohemgen-webgpu-")), 3);
  place = workplace();
});
afterAll(() => {
  rmSync(small.folder, { recursive: true });
  place.remove();
});

async function gradientOn(provider: Provider): Promise<Tensors> {
  const attached = attach(smallNet(), { provider: "webgpu" });
  const layout = layoutOf(attached.manifest);
  const pairing = pairFiles(join(small.folder, "images"), join(small.folder, "masks"));
  const plan = { seed: 0, batch: 1, size: [32, 32], augmentation: { scale: [1, 1], flip: false, color: 0 } } as const;
  const { batch } = await trainingBatch(new Dataset({ ...pairing, layout, labelMap: null }, diskPictures), plan, 0);
  const session = await openSession(encodeModel(attached.graphs.gradient), { provider });
  try {
    return await session.run(batchFeeds(batch, layout, session, stateFor(session, attached.state)));
  } finally {
    await session.close();
  }
}

gpuTest("loss and gradient are those of the CPU", async () => {
  const [cpu, gpu] = [await gradientOn("cpu"), await gradientOn("webgpu")];
  const numbers = (result: Tensors, name: string): number[] => Array.from(result.get(name)?.data as Float32Array);
  for (const name of ["valid", "kept", "finite"]) expect(numbers(gpu, name), name).toEqual(numbers(cpu, name));
  // Sums over 1024 pixels in another order: 2⁻²⁴ · √1024 is 2e-6; exp and log of WebGPU are off by a few 2⁻²⁴.
  for (const name of ["loss", "ce", "lovasz"]) expect(relative(numbers(gpu, name), numbers(cpu, name)), name).toBeLessThan(2e-6);
  const [expected, got] = [numbers(cpu, "params.grad"), numbers(gpu, "params.grad")];
  expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0);
  // Four such sums in a row: the normalizer, the upsampling, two convolutions.
  expect(relative(got, expected)).toBeLessThan(1e-5);
});

/** Largest difference, against the largest number. */
function relative(got: readonly number[], expected: readonly number[]): number {
  const difference = Math.max(...expected.map((value, i) => Math.abs((got[i] ?? Number.NaN) - value)));
  return difference / Math.max(...expected.map(Math.abs));
}

gpuTest("train --ep webgpu: the losses of the CPU", () => {
  const data = ["--images", join(small.folder, "images"), "--masks", join(small.folder, "masks"), "--steps", "3", "--lr", "0.05", "--for", "webgpu"];
  const losses = (provider: Provider): number[] => {
    const { code, stderr } = place.run("train", small.model, ...data, "--ep", provider, "-o", provider);
    expect(code, stderr).toBe(0);
    const lines = readFileSync(join(place.dir, provider, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n");
    return lines
      .map((line) => JSON.parse(line))
      .filter(({ event }) => event === "step")
      .map(({ loss }) => loss);
  };
  const [cpu, gpu] = [losses("cpu"), losses("webgpu")];
  expect(gpu).toHaveLength(3);
  // Two updates with gradients that differ by 1e-5 of the largest, at a rate of 0.05: still the rounding of the loss.
  expect(relative(gpu, cpu)).toBeLessThan(1e-5);
});

gpuTest("eval --ep webgpu says so where the graphs were not made for it", () => {
  const [images, masks] = [join(small.folder, "images"), join(small.folder, "masks")];
  for (const made of ["any", "webgpu"]) {
    expect(place.run("attach", small.model, "--for", made, "-o", `for-${made}`).code).toBe(0);
    const { code, stderr } = place.run("eval", `for-${made}`, "--images", images, "--masks", masks, "--ep", "webgpu");
    expect(code, stderr).toBe(0);
    expect(stderr.includes("without --for webgpu"), made).toBe(made === "any");
  }
});
