/** OpenVINO runs the loss graphs as ONNX Runtime does. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { root } from "../cli/command.ts";
import { labelTensor } from "../loss/harness.ts";
import { makeInput } from "../loss/inputs.ts";
import { havePython, pythonJson, pythonPath } from "../python.ts";
import type { Feeds } from "../run-graph.ts";

function haveOpenvino(): boolean {
  if (!havePython()) return false;
  try {
    execFileSync(pythonPath(), ["-c", "import openvino"], { stdio: "ignore" });
    return true;
  } catch (error) {
    if (process.env["OHEMGEN_REQUIRE_ALL"]) throw error;
    return false;
  }
}

const openvinoTest = test.skipIf(!haveOpenvino());
const types: Readonly<Record<string, string>> = { float32: "<f4", uint8: "u1" };

function differences(model: Uint8Array, feeds: Feeds): Record<string, number> {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-openvino-"));
  try {
    writeFileSync(join(folder, "model.onnx"), model);
    const described = Object.entries(feeds).map(([name, tensor], i) => {
      const file = join(folder, `feed${i}`);
      const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
      writeFileSync(file, new Uint8Array(buffer, byteOffset, byteLength));
      return [name, { file, dtype: types[tensor.type], shape: tensor.dims }];
    });
    return pythonJson("compare_runtime.py", { model: join(folder, "model.onnx"), feeds: Object.fromEntries(described) });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Ranks of nearly equal errors change places with rounding: 2e-5 was measured.
const tolerance = 1e-4;

openvinoTest.each(["ohem-ce", "lovasz-softmax", "lovasz-histogram", "ohem-lovasz"])("%s", (name) => {
  const { logits, labels } = makeInput(7, 2, 5, 24, 32, 2);
  const feeds = { logits: new ort.Tensor("float32", Float32Array.from(logits.data), logits.shape), labels: labelTensor("uint8", labels) };
  const found = differences(readFileSync(join(root, "graphs", `${name}.onnx`)), feeds);
  expect(Math.max(...Object.values(found)), JSON.stringify(found)).toBeLessThan(tolerance);
});
