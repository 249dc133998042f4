/** Every runtime behind one function: a graph and its feeds in, all outputs as doubles out. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as node from "onnxruntime-node";
import { havePython, pythonJson, pythonPath } from "../python.ts";
import { type Feeds, openSession } from "../run-graph.ts";

/** Outputs by name, and the version of what made them. */
export interface Outcome {
  readonly version: string;
  readonly outputs: ReadonlyMap<string, Float64Array>;
}

export const runtimes = ["openvino", "reference", "wasm"] as const;
export type Runtime = (typeof runtimes)[number];

const types: Readonly<Record<string, string>> = { float32: "<f4", uint8: "u1", int64: "<i8" };

function versionOf(name: string): string {
  const packaged = createRequire(import.meta.url)
    .resolve(name)
    .replace(/(node_modules\/[^/]+)\/.*/, "$1/package.json");
  return (JSON.parse(readFileSync(packaged, "utf8")) as { version: string }).version;
}

function doubles(data: ArrayLike<unknown>): Float64Array {
  return Float64Array.from(data as ArrayLike<number>, Number);
}

/** What the others are compared with: ONNX Runtime's CPU provider. */
export async function outcome(session: node.InferenceSession, feeds: Feeds): Promise<Outcome> {
  const results = await session.run(feeds);
  return { version: versionOf("onnxruntime-node"), outputs: new Map(Object.entries(results).map(([name, { data }]) => [name, doubles(data)])) };
}

export async function onnxRuntime(model: Uint8Array, feeds: Feeds): Promise<Outcome> {
  const session = await openSession(model);
  try {
    return await outcome(session, feeds);
  } finally {
    await session.release();
  }
}

async function wasm(model: Uint8Array, feeds: Feeds): Promise<Outcome> {
  const web = await import("onnxruntime-web/wasm");
  web.env.wasm.numThreads = 1;
  const session = await web.InferenceSession.create(model, { executionProviders: ["wasm"], enableMemPattern: false, logSeverityLevel: 3 });
  try {
    const given = Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new web.Tensor(type as "float32", data as Float32Array, dims)]);
    const results = await session.run(Object.fromEntries(given));
    return { version: versionOf("onnxruntime-web"), outputs: new Map(Object.entries(results).map(([name, { data }]) => [name, doubles(data as never)])) };
  } finally {
    await session.release();
  }
}

function describe(tensor: node.Tensor, file: string): unknown {
  const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
  writeFileSync(file, new Uint8Array(buffer, byteOffset, byteLength));
  return { file, dtype: types[tensor.type], shape: tensor.dims };
}

function throughPython(runtime: Runtime, model: Uint8Array, feeds: Feeds, outputs: readonly string[]): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-runtime-"));
  try {
    writeFileSync(join(folder, "model.onnx"), model);
    const described = Object.fromEntries(Object.entries(feeds).map(([name, tensor], i) => [name, describe(tensor, join(folder, `feed${i}`))]));
    const version = pythonJson<string>("run_runtime.py", { runtime, model: join(folder, "model.onnx"), feeds: described, outputs, folder });
    const read = (i: number) => new Float64Array(Uint8Array.from(readFileSync(join(folder, `output${i}`))).buffer);
    return { version, outputs: new Map(outputs.map((name, i) => [name, read(i)])) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a graph whose outputs have these names. */
export async function runOn(runtime: Runtime, model: Uint8Array, feeds: Feeds, outputs: readonly string[]): Promise<Outcome> {
  return runtime === "wasm" ? wasm(model, feeds) : throughPython(runtime, model, feeds, outputs);
}

/** Whether the runtime is installed. @throws where it is not although OHEMGEN_REQUIRE_ALL is set. */
export function haveRuntime(runtime: Runtime): boolean {
  if (runtime === "wasm") return true;
  if (!havePython()) return false;
  try {
    execFileSync(pythonPath(), ["-c", `import ${runtime === "openvino" ? "openvino" : "onnx.reference"}`], { stdio: "ignore" });
    return true;
  } catch (error) {
    if (process.env["OHEMGEN_REQUIRE_ALL"]) throw error;
    return false;
  }
}

/** The largest |a − b| of an output over the largest |b| of that output, the largest of all outputs; NaN where they have other sizes or a NaN. */
export function difference(got: Outcome, want: Outcome): number {
  let worst = 0;
  for (const [name, values] of want.outputs) {
    const other = got.outputs.get(name);
    if (other?.length !== values.length) return Number.NaN;
    let [apart, largest] = [0, 0];
    for (const [i, value] of values.entries()) {
      const distance = Math.abs(value - (other[i] as number));
      if (Number.isNaN(distance)) return Number.NaN;
      apart = Math.max(apart, distance);
      largest = Math.max(largest, Math.abs(value));
    }
    worst = Math.max(worst, apart / Math.max(largest, Number.MIN_VALUE));
  }
  return worst;
}
