/** Whether a provider of ONNX Runtime has a kernel for a node of opset 18: looked up in tables, no device is asked. */

import type { DataType } from "../ir/dtype.ts";
import type { Node } from "../ir/graph.ts";
import { cudaKernels } from "./kernels-cuda.ts";
import { webgpuKernels } from "./kernels-webgpu.ts";

/**
 * By operator: the version of the operator the kernel is registered from, then the types of each input; the last list
 * stands for all further inputs.
 */
export type KernelTable = Readonly<Record<string, readonly [since: number, ...types: string[]]>>;

export const kernelTables = { cuda: cudaKernels, webgpu: webgpuKernels } as const;
export type KernelProvider = keyof typeof kernelTables;

const attribute = (node: Node, name: string): unknown => node.attributes[name]?.value;

/** Of what a kernel takes by its types, what it does not do. */
const limits: Readonly<Record<KernelProvider, Readonly<Record<string, (node: Node) => string | undefined>>>> = {
  cuda: {
    BatchNormalization: (node) => (attribute(node, "training_mode") ? "training_mode = 1 throws" : undefined),
    ScatterElements: (node) => {
      const reduces = (attribute(node, "reduction") ?? "none") !== "none";
      return reduces && node.inputs[0]?.dtype !== "float32" ? "reductions only on float32 before August 2026" : undefined;
    },
  },
  webgpu: {
    BatchNormalization: (node) => (attribute(node, "training_mode") ? "training_mode = 1 is not implemented" : undefined),
    Cast: (node) => (castTypes.has(Number(attribute(node, "to"))) ? undefined : "casts to float32, float16, int32, uint32, int64 and bool only"),
    MaxPool: (node) => (node.outputs[1] === undefined ? undefined : "Indices are not implemented"),
    Resize: (node) => (attribute(node, "antialias") ? "no antialias" : (node.inputs[0]?.shape?.length ?? 4) > 4 ? "rank 4 at most" : undefined),
    ConvTranspose: (node) => ((node.inputs[0]?.shape?.length ?? 4) > 4 ? "rank 4 at most" : undefined),
  },
};

/** Codes of float32, int32, int64, bool, float16, uint32. */
const castTypes = new Set([1, 6, 7, 9, 10, 12]);

/** Functions of ONNX that the runtime expands where a provider has no kernel. */
const expanded = new Set(["Celu", "CenterCropPad", "HardSwish", "MeanVarianceNormalization", "Mish"]);

/** Functions the runtime has kernels for on the CPU in float32 only: in float16 it expands them, in float32 they go there. */
const expandedInHalf = new Set(["LogSoftmax", "Selu", "Softsign"]);

function isExpanded({ domain, op, inputs }: Node): boolean {
  return domain === "" && (expanded.has(op) || (expandedInHalf.has(op) && inputs[0]?.dtype === "float16"));
}

/** Why the provider would leave the node to the CPU; `undefined`: it has a kernel. */
export function withoutKernel(provider: KernelProvider, node: Node): string | undefined {
  const entry = node.domain === "" ? kernelTables[provider][node.op] : undefined;
  if (entry === undefined) return isExpanded(node) ? undefined : "no kernel";
  const [, ...types] = entry;
  for (const [i, value] of node.inputs.entries()) {
    const allowed = types[i] ?? types.at(-1);
    if (value === undefined || allowed === undefined || value.dtype === "undefined") continue;
    if (!allowed.split(" ").includes(value.dtype satisfies DataType)) return `not on ${value.dtype} (input ${i})`;
  }
  return limits[provider][node.op]?.(node);
}
