/**
 * Graphs running in onnxruntime-node, which is loaded only here and only when something runs: it is an optional
 * dependency of 288 MB.
 */

import type { InferenceSession, Tensor as RuntimeTensor } from "onnxruntime-node";
import type { Tensor } from "../ir/tensor.ts";
import type { ErrorCode } from "../support/error-codes.ts";
import { bug, OhemgenError } from "../support/errors.ts";

type Runtime = typeof import("onnxruntime-node");

export type { RuntimeTensor };

/** Tensors by input or output name. */
export type Tensors = ReadonlyMap<string, RuntimeTensor>;

export const providers = ["cpu", "cuda", "webgpu"] as const;
export type Provider = (typeof providers)[number];

export interface SessionOptions {
  /** 0 leaves it to the runtime. */
  readonly threads?: number;
  /** What runs the graph; default the CPU. */
  readonly provider?: Provider;
}

export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Runs the graph and returns the outputs asked for, those in `into` in the memory of the tensors there. */
  run(feeds: Tensors, outputs?: readonly string[], into?: Tensors): Promise<Map<string, RuntimeTensor>>;
  close(): Promise<void>;
}

/** @throws OhemgenError E401 where the runtime is missing or does not load. */
export async function loadRuntime(): Promise<Runtime> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const reason = missing ? "is not installed" : `does not load: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new OhemgenError(`this command runs graphs and needs onnxruntime-node, which ${reason}`, {
      code: "E401",
      hint: "Install it beside ohemgen: npm install onnxruntime-node@1.30 --ignore-scripts",
      cause,
    });
  }
}

/** @throws OhemgenError E401, E402 (the runtime refuses the graph or the provider), E403 (from `run`). */
export async function openSession(model: string | Uint8Array, { threads = 0, provider = "cpu" }: SessionOptions = {}): Promise<Session> {
  const runtime = await loadRuntime();
  const options: InferenceSession.SessionOptions = {
    // Half the peak memory in graphs with a backward pass.
    enableMemPattern: false,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // What fails is thrown, and told once.
    logSeverityLevel: 4,
    ...(threads > 0 ? { intraOpNumThreads: threads } : {}),
    ...(provider === "cpu" ? {} : { executionProviders: [provider] }),
  };
  const name = typeof model === "string" ? model : "the model";
  let session: InferenceSession;
  try {
    session = typeof model === "string" ? await runtime.InferenceSession.create(model, options) : await runtime.InferenceSession.create(model, options);
  } catch (cause) {
    throw failure("E402", `ONNX Runtime cannot load ${name}${provider === "cpu" ? "" : ` on ${provider}`}`, cause, providerHint(provider));
  }
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(feeds, outputs = session.outputNames, into = new Map()) {
      try {
        const fetches = Object.fromEntries(outputs.map((output) => [output, into.get(output) ?? null]));
        return new Map(Object.entries(await session.run(Object.fromEntries(feeds), fetches)));
      } catch (cause) {
        throw failure("E403", `ONNX Runtime failed to run ${name}`, cause);
      }
    },
    close: () => session.release(),
  };
}

function failure(code: ErrorCode, what: string, cause: unknown, hint?: string): OhemgenError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new OhemgenError(`${what}: ${reason}`, { code, cause, ...(hint === undefined ? {} : { hint }) });
}

function providerHint(provider: Provider): string | undefined {
  if (provider === "cuda") {
    return "CUDA needs an NVIDIA GPU, CUDA 12 with cuDNN 9, and the runtime's CUDA files: node node_modules/onnxruntime-node/script/install.js";
  }
  return provider === "webgpu" ? "WebGPU needs a GPU with a Vulkan, Metal or Direct3D 12 driver." : undefined;
}

type RuntimeData = Float32Array | Uint8Array | Int32Array | BigInt64Array;

export async function runtimeTensor(data: RuntimeData, dims: readonly number[]): Promise<RuntimeTensor> {
  const { Tensor } = await loadRuntime();
  if (data instanceof Float32Array) return new Tensor("float32", data, dims);
  if (data instanceof Uint8Array) return new Tensor("uint8", data, dims);
  return data instanceof Int32Array ? new Tensor("int32", data, dims) : new Tensor("int64", data, dims);
}

/** State of a file as the runtime takes it; a copy, so that a run never changes what was read. */
export async function runtimeState(state: ReadonlyMap<string, Tensor>): Promise<Map<string, RuntimeTensor>> {
  const result = new Map<string, RuntimeTensor>();
  for (const [name, { dtype, dims, bytes }] of state) {
    // Not bytes.slice(): a Node Buffer would give a view.
    const { buffer } = Uint8Array.from(bytes);
    const data = dtype === "float32" ? new Float32Array(buffer) : dtype === "int64" ? new BigInt64Array(buffer) : bug(`state of type ${dtype}`);
    result.set(name, await runtimeTensor(data, dims));
  }
  return result;
}

/** The other way: a view of the runtime's numbers. */
export function stateTensors(state: Tensors): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  for (const [name, { data, dims, type }] of state) {
    if (!ArrayBuffer.isView(data)) bug(`state "${name}" has no numbers`);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    result.set(name, { dtype: type === "int64" ? "int64" : "float32", dims: [...dims], bytes });
  }
  return result;
}

/** The number of a tensor with one element. */
export function scalarOf(tensors: Tensors, name: string): number {
  return Number(tensors.get(name)?.data[0] ?? bug(`no output "${name}"`));
}
