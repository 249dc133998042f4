/** Several processes train as one does with the whole batch, where the loss is a mean over labelled pixels or over all. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { decodeSafetensors } from "../../src/proto/safetensors.ts";
import { evaluateFloat64 } from "../attach/evaluate-float64.ts";
import { demo, demoModel, root, workplace } from "../cli/command.ts";
import { numbers } from "../loss/inputs.ts";
import { havePython, pythonPath, pythonTest } from "../python.ts";

const mpiexec = havePython() ? join(dirname(pythonPath()), "mpiexec") : "";
if (!existsSync(mpiexec) && process.env["OHEMGEN_REQUIRE_ALL"]) throw new Error("OHEMGEN_REQUIRE_ALL is set, but no mpiexec: test/requirements.txt");

const [height, width] = [96, 160];

function paramsOf(path: string): Float32Array {
  const bytes = decodeSafetensors(readFileSync(path)).tensors.get("params")?.bytes;
  return new Float32Array(Uint8Array.from(bytes ?? []).buffer);
}

function distance(a: Float32Array | Float64Array, b: Float32Array | Float64Array): number {
  let squares = 0;
  for (const [i, value] of a.entries()) squares += (value - (b[i] ?? Number.NaN)) ** 2;
  return Math.sqrt(squares);
}

test.skipIf(!existsSync(mpiexec)).each(["valid", "all"])("1, 2 and 4 processes, normalizer %s", (normalizer) => {
  const place = workplace();
  try {
    const loss = ["--mining", "off", "--normalizer", normalizer, "--lovasz", "0"];
    expect(place.run("attach", demoModel, "-o", "model.train", ...loss).code).toBe(0);
    const trained = [1, 2, 4].map((count) => {
      const data = [join(demo, "images"), join(demo, "masks"), `${count}.safetensors`, "3", "8", normalizer === "all" ? "images" : "valid"];
      const args = ["-n", `${count}`, pythonPath(), join(root, "examples/mpi_loop.py"), "model.train", ...data];
      expect(execFileSync(mpiexec, args, { cwd: place.dir, encoding: "utf8" }).match(/loss [\d.]+/g)).toHaveLength(3);
      return paramsOf(place.path(`${count}.safetensors`));
    });
    const [one, ...others] = trained as [Float32Array, Float32Array, Float32Array];
    const moved = distance(one, paramsOf(place.path("model.train/state.safetensors")));
    expect(moved).toBeGreaterThan(0);
    // Sums in another order: 1e-6 of the way was measured with eight pictures. With four it was 3e-4, since one activation of the
    // second step, -2e-7 here and 8e-7 there beside others of 5.6, is on both sides of its ReLU.
    for (const params of others) expect(distance(params, one)).toBeLessThan(1e-4 * moved);
  } finally {
    place.remove();
  }
});

/** Noise, with a `share` of the pixels labelled. */
function noise(share: number): { readonly image: Float32Array; readonly labels: Uint8Array } {
  const next = numbers(Math.round(10 * share));
  const image = Float32Array.from({ length: 3 * height * width }, () => 4 * next() - 2);
  return { image, labels: Uint8Array.from({ length: height * width }, () => (next() < share ? Math.floor(3 * next()) : 255)) };
}

pythonTest("without rounding the weighted mean of the parts is the gradient of the whole", () => {
  const place = workplace();
  try {
    expect(place.run("attach", demoModel, "-o", "model.train", "--mining", "off", "--normalizer", "valid", "--lovasz", "0").code).toBe(0);
    const model = readFileSync(place.path("model.train/gradient.onnx"));
    const params = paramsOf(place.path("model.train/state.safetensors"));
    const run = (...pictures: readonly ReturnType<typeof noise>[]) => {
      const image = new ort.Tensor("float32", Float32Array.from(pictures.flatMap((each) => [...each.image])), [pictures.length, 3, height, width]);
      const labels = new ort.Tensor("uint8", Uint8Array.from(pictures.flatMap((each) => [...each.labels])), [pictures.length, height, width]);
      const out = evaluateFloat64(model, { image, labels, params: new ort.Tensor("float32", params, [params.length]) }, ["valid", "params.grad"]);
      return { valid: out.get("valid")?.[0] ?? Number.NaN, gradient: out.get("params.grad") as Float64Array };
    };
    const [few, many] = [noise(0.3), noise(0.9)];
    const [first, second, whole] = [run(few), run(many), run(few, many)];
    expect(first.valid + second.valid).toBe(whole.valid);
    const mean = (weight: number) => first.gradient.map((value, i) => weight * value + (1 - weight) * (second.gradient[i] ?? Number.NaN));
    const off = (gradient: Float64Array) => distance(gradient, whole.gradient) / distance(whole.gradient, new Float64Array(whole.gradient.length));
    // 3e-16 was measured, once 2e-12; float32 makes it 3e-7.
    expect(off(mean(first.valid / whole.valid))).toBeLessThan(1e-9);
    // The weights count.
    expect(off(mean(0.5))).toBeGreaterThan(0.01);
  } finally {
    place.remove();
  }
});
