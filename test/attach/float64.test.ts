/**
 * The gradient graphs evaluated in float64 by an independent implementation of their operators: without float32
 * rounding no activation falls on the other side of a kink, so every gradient must agree to many digits.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as ort from "onnxruntime-node";
import { describe, expect } from "vitest";
import { encodeModel } from "../../src/proto/encode.ts";
import { availableModels } from "../models.ts";
import { pythonJson, pythonTest } from "../python.ts";
import { attachReference, feedsOf, gradientError, readReference } from "./reference.ts";

const types: Readonly<Record<string, string>> = { float32: "<f4", uint8: "u1", int64: "<i8" };

/** Runs a graph in float64; outputs by name. */
function evaluate(model: Uint8Array, feeds: Readonly<Record<string, ort.Tensor>>, outputs: readonly string[]): Map<string, Float64Array> {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-float64-"));
  try {
    writeFileSync(join(folder, "model.onnx"), model);
    const described = Object.entries(feeds).map(([name, tensor], i) => {
      const file = join(folder, `feed${i}`);
      const data = tensor.data as Float32Array;
      writeFileSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return [name, { file, dtype: types[tensor.type], shape: tensor.dims }];
    });
    pythonJson("evaluate_float64.py", { model: join(folder, "model.onnx"), feeds: Object.fromEntries(described), outputs, folder });
    return new Map(outputs.map((name) => [name, new Float64Array(Uint8Array.from(readFileSync(join(folder, `${name}.f64`))).buffer)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.each(availableModels())("$name", ({ dir }) => {
  pythonTest("gradients in float64", () => {
    const reference = readReference(dir);
    const result = attachReference(dir, reference);
    const out = evaluate(encodeModel(result.graphs.gradient), feedsOf(dir, result, 0), ["loss", "kept", "params.grad"]);
    // What differs still: attributes are float32 (a slope of 1/6 is off by 3e-8), and references have 12 digits.
    expect(Math.abs((out.get("loss")?.[0] ?? 0) - reference.loss.total) / reference.loss.total).toBeLessThan(1e-7);
    expect(out.get("kept")?.[0]).toBe(reference.loss.n_kept);
    const flat = out.get("params.grad") as Float64Array;
    let worst = 0;
    for (const { name, offset, length } of result.manifest.parameters) {
      const want = reference.parameters[name];
      if (want === undefined || want.zero === true) continue;
      worst = Math.max(worst, gradientError(flat.subarray(offset, offset + length), want));
    }
    console.log(`${dir.split("/").at(-1)}: worst relative gradient error in float64 ${worst.toExponential(1)}`);
    expect(worst).toBeLessThan(1e-6);
  });
});
