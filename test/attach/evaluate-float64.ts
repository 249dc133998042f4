/** A graph evaluated in float64 by an independent implementation of its operators: no rounding of float32, no kinks. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as ort from "onnxruntime-node";
import { pythonJson } from "../python.ts";

const types: Readonly<Record<string, string>> = { float32: "<f4", uint8: "u1", int64: "<i8" };

/** Runs a graph in float64; outputs by name. */
export function evaluateFloat64(model: Uint8Array, feeds: Readonly<Record<string, ort.Tensor>>, outputs: readonly string[]): ReadonlyMap<string, Float64Array> {
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
