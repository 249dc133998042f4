/**
 * Graphs running in onnxruntime-web, which is fetched from beside the page only when training starts: on the GPU by
 * WebGPU, or on the CPU by WebAssembly, with threads where the page is isolated from other origins.
 */

import type { InferenceSession } from "onnxruntime-web";
import { OhemgenError } from "../support/errors.ts";
import { runtimeTensorOf, type Session, type Tensors } from "../train/runtime.ts";
import type { Backend } from "./protocol.ts";

type Runtime = typeof import("onnxruntime-web");

export interface WebRuntime {
  readonly backend: Backend;
  readonly threads: number;
  /** @param onDevice outputs that stay on the GPU */
  open(model: Uint8Array, onDevice?: readonly string[]): Promise<Session>;
  /** State in memory of the CPU, wherever it is kept. */
  read(state: Tensors): Promise<Tensors>;
}

/** More threads than this gain nothing on networks of this size. */
const mostThreads = 8;

export async function haveWebgpu(): Promise<boolean> {
  const { gpu } = navigator as unknown as { readonly gpu?: { requestAdapter(): Promise<object | null> } };
  try {
    return gpu !== undefined && (await gpu.requestAdapter()) !== null;
  } catch {
    return false;
  }
}

/** @throws OhemgenError E401 where the runtime cannot be fetched, E402 where there is no WebGPU. */
export async function openWebRuntime(asked: Backend | "auto", base: URL): Promise<WebRuntime> {
  const gpu = asked !== "wasm" && (await haveWebgpu());
  if (asked === "webgpu" && !gpu) {
    throw new OhemgenError("this browser offers no WebGPU", { code: "E402", hint: "Choose WebAssembly, or another browser." });
  }
  const backend: Backend = gpu ? "webgpu" : "wasm";
  const runtime = await load(new URL(`ort.${backend}.min.mjs`, base));
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, mostThreads) : 1;
  runtime.env.wasm.wasmPaths = base.href;
  runtime.env.wasm.numThreads = threads;
  return {
    backend,
    threads,
    open: (model, onDevice = []) => openSession(runtime, backend, model, onDevice),
    async read(state) {
      const entries = [...state].map(async ([name, tensor]) => {
        if (tensor.location === "cpu") return [name, tensor] as const;
        const numbers = (await tensor.getData()) as Float32Array;
        return [name, runtimeTensorOf(runtime.Tensor, numbers, tensor.dims)] as const;
      });
      return new Map(await Promise.all(entries));
    },
  };
}

async function load(url: URL): Promise<Runtime> {
  try {
    return (await import(url.href)) as Runtime;
  } catch (cause) {
    throw new OhemgenError("the page needs onnxruntime-web, which cannot be loaded", {
      code: "E401",
      hint: "Install it beside ohemgen: npm install onnxruntime-web@1.30",
      cause,
    });
  }
}

async function openSession(runtime: Runtime, backend: Backend, model: Uint8Array, onDevice: readonly string[]): Promise<Session> {
  const options: InferenceSession.SessionOptions = {
    executionProviders: [backend],
    enableMemPattern: false,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    ...(backend === "webgpu" ? { preferredOutputLocation: Object.fromEntries(onDevice.map((name) => [name, "gpu-buffer"] as const)) } : {}),
  };
  let session: InferenceSession;
  try {
    session = await runtime.InferenceSession.create(model, options);
  } catch (cause) {
    throw failure("E402", `ONNX Runtime cannot load a graph on ${backend}`, cause);
  }
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    tensor: (data, dims) => runtimeTensorOf(runtime.Tensor, data, dims),
    async run(feeds, outputs = session.outputNames) {
      try {
        return new Map(Object.entries(await session.run(Object.fromEntries(feeds), [...outputs])));
      } catch (cause) {
        throw failure("E403", "ONNX Runtime failed to run a graph", cause);
      }
    },
    close: () => session.release(),
  };
}

function failure(code: "E402" | "E403", what: string, cause: unknown): OhemgenError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new OhemgenError(`${what}: ${reason}`, { code, cause, hint: "Smaller crops or batches need less memory." });
}
