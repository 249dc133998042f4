/**
 * Graphs running in onnxruntime-node, which is loaded only here and only when something runs: it is an optional
 * dependency of 288 MB.
 */

import type { InferenceSession } from "onnxruntime-node";
import type { Tensor } from "../ir/tensor.ts";
import type { ErrorCode } from "../support/error-codes.ts";
import { OhemgenError } from "../support/errors.ts";
import { type RuntimeData, type RuntimeTensor, runtimeTensorOf, type Session, stateFor } from "./runtime.ts";

type Runtime = typeof import("onnxruntime-node");

export const providers = ["cpu", "cuda", "webgpu"] as const;
export type Provider = (typeof providers)[number];

export interface SessionOptions {
  /** 0 leaves it to the runtime. */
  readonly threads?: number;
  /** What runs the graph; default the CPU. */
  readonly provider?: Provider;
  /** Outputs that stay in the memory of the device; its runs return tensors that only sessions of the device can read. */
  readonly onDevice?: readonly string[];
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
export async function openSession(model: string | Uint8Array, { threads = 0, provider = "cpu", onDevice = [] }: SessionOptions = {}): Promise<Session> {
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
    ...(onDevice.length === 0 ? {} : { preferredOutputLocation: Object.fromEntries(onDevice.map((name) => [name, "gpu-buffer"] as const)) }),
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
    tensor: (data, dims) => runtimeTensorOf(runtime.Tensor, data, dims),
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

export async function runtimeTensor(data: RuntimeData, dims: readonly number[]): Promise<RuntimeTensor> {
  return runtimeTensorOf((await loadRuntime()).Tensor, data, dims);
}

/** State of a file as the runtime takes it. */
export async function runtimeState(state: ReadonlyMap<string, Tensor>): Promise<Map<string, RuntimeTensor>> {
  const { Tensor } = await loadRuntime();
  return stateFor({ tensor: (data, dims) => runtimeTensorOf(Tensor, data, dims) }, state);
}
