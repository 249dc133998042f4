/** `tune` from the shell: equal gradients, originals that stay, refusals. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readTrainingFolder } from "../../src/files/training-folder.ts";
import { openSession, runtimeState, runtimeTensor } from "../../src/train/session.ts";
import { demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

const graphs = ["train_step.onnx", "gradient.onnx", "eval_step.onnx"];
const bytes = (name: string) => readFileSync(place.path(name));

/** Pictures that differ in all pixels. */
const pictures = [1, 2, 3, 4, 5].map((frequency) => Float32Array.from({ length: 2 * 3 * 96 * 160 }, (_, i) => Math.sin(frequency * i)));

async function gradients(file: string): Promise<Float32Array[]> {
  const session = await openSession(place.path(file), { threads: 1 });
  const { state } = readTrainingFolder(place.path("t"));
  const labels = Uint8Array.from({ length: 2 * 96 * 160 }, (_, i) => i % 6);
  const fixed = [
    ["labels", await runtimeTensor(labels, [2, 96, 160])],
    ["params", (await runtimeState(state)).get("params") as never],
  ] as const;
  const found: Float32Array[] = [];
  for (const picture of pictures) {
    const feeds = new Map([["image", await runtimeTensor(picture, [2, 3, 96, 160])] as const, ...fixed]);
    found.push((await session.run(feeds)).get("params.grad")?.data as Float32Array);
  }
  await session.close();
  return found;
}

/** Relative to the norm of the first. */
function difference(a: Float32Array, b: Float32Array): number {
  const norm = Math.hypot(...a);
  expect(norm).toBeGreaterThan(0);
  return Math.hypot(...a.map((value, i) => value - (b[i] as number))) / norm;
}

test("tuned graphs have the gradients of the originals, which stay, and are where tuning starts again", { timeout: 120_000 }, async () => {
  expect(place.run("attach", demoModel, "--input-shape", "image=2,3,96,160", "-o", "t").code).toBe(0);
  const originals = graphs.map((name) => bytes(`t/${name}`));
  const manifest = bytes("t/manifest.json");
  const { code, stdout } = place.run("tune", "t", "--threads", "1", "--json");
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as {
    layers: { chosen: string; before: number; blocked?: number }[];
    machine: { threads: number };
    graphs: Record<string, { chosen: string; before: number; after: number }>;
  };
  expect(report.layers.length).toBeGreaterThan(3);
  expect(report.machine.threads).toBe(1);
  for (const { chosen, before, blocked } of report.layers) if (chosen === "blocked") expect(blocked).toBeLessThan(before);
  graphs.forEach((name, i) => {
    const { chosen, before, after } = report.graphs[name.replace(".onnx", "")] as (typeof report.graphs)[string];
    expect(chosen).toBe(after < before ? "tuned" : "plain");
    expect(bytes(`t/${name}`).equals(originals[i] as Buffer)).toBe(chosen === "plain");
    expect(bytes(`t/untuned/${name}`).equals(originals[i] as Buffer)).toBe(true);
  });
  expect(bytes("t/untuned/manifest.json").equals(manifest)).toBe(true);
  expect(JSON.parse(bytes("t/manifest.json").toString())).toEqual({ ...JSON.parse(manifest.toString()), tuned: report });
  const [plain, tuned] = [await gradients("t/untuned/gradient.onnx"), await gradients("t/gradient.onnx")];
  const errors = plain.map((gradient, i) => difference(gradient, tuned[i] as Float32Array));
  // Rounding in another order: measured 4e-7 at most, over twelve such pictures and a hundred choices of layers. Where it puts an
  // activation on the other side of a kink, which it did with two of the twelve, 4e-5 and 2.5e-4; a wrong kernel shows with every picture.
  expect(Math.min(...errors), `${errors}`).toBeLessThan(2e-6);
  expect(place.run("tune", "t", "--threads", "1").code).toBe(0);
  graphs.forEach((name, i) => expect(bytes(`t/untuned/${name}`).equals(originals[i] as Buffer)).toBe(true));
  expect(place.run("export", "t", "-o", "same.onnx").code).toBe(0);
  expect(bytes("same.onnx").equals(readFileSync(demoModel))).toBe(true);
});

test("refuses open sizes, graphs of another version and what is no training folder", () => {
  expect(place.run("attach", demoModel, "-o", "t").code).toBe(0);
  expect(place.run("tune", "t")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/E450[\s\S]*--input-shape/) });
  writeFileSync(
    place.path("t/manifest.json"),
    bytes("t/manifest.json")
      .toString()
      .replace(/"ohemgen": "[^"]*"/, '"ohemgen": "0.0.1"'),
  );
  expect(place.run("tune", "t")).toMatchObject({ code: 1, stderr: expect.stringContaining("made by ohemgen 0.0.1") });
  mkdirSync(place.path("empty"));
  expect(place.run("tune", "empty")).toMatchObject({ code: 1, stderr: expect.stringContaining("E113") });
  expect(place.names()).toEqual(["empty", "t"]);
});
