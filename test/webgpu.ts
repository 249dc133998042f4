/** The WebGPU provider that onnxruntime-node bundles, on a device, or on SwiftShader as Debian's chromium brings it. */

import { existsSync } from "node:fs";
import * as ort from "onnxruntime-node";
import type { Model } from "../src/ir/graph.ts";
import { encodeModel } from "../src/proto/encode.ts";
import { graphOf, modelOf, node, value } from "./passes/compare.ts";

const swiftshader = "/usr/lib/chromium/vk_swiftshader_icd.json";
if (process.env["VK_ICD_FILENAMES"] === undefined && existsSync(swiftshader)) process.env["VK_ICD_FILENAMES"] = swiftshader;

/** Whether a session takes the model as it is; on WebGPU: with every node on that provider. */
export async function opens(model: Model, provider: "cpu" | "webgpu"): Promise<boolean> {
  const options = {
    executionProviders: [provider],
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 4,
    ...(provider === "cpu" ? {} : { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
  } as const;
  try {
    await (await ort.InferenceSession.create(encodeModel(model), options)).release();
    return true;
  } catch {
    return false;
  }
}

const [x, y] = [value("x", "float32", [1]), value("y", "float32", [1])];
export const haveWebgpu = await opens(modelOf(graphOf([x], [node("Relu", [x], [y])], [y])), "webgpu");
