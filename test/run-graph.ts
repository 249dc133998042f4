/** Runs a graph on onnxruntime-node's CPU provider, as the examples do: memory patterns off. One thread, as files of tests run side by side. */

import * as ort from "onnxruntime-node";
import type { Model } from "../src/ir/graph.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import { encodeModel } from "../src/proto/encode.ts";

export type Feeds = Record<string, ort.Tensor>;
export type Results = Record<string, ort.Tensor>;

export async function openSession(model: Model | Uint8Array): Promise<ort.InferenceSession> {
  const bytes = model instanceof Uint8Array ? model : encodeModel(model);
  return ort.InferenceSession.create(bytes, { enableMemPattern: false, intraOpNumThreads: 1, logSeverityLevel: 3 });
}

/** A tensor of ours as one of the runtime's. */
export function toRuntime(tensor: Tensor): ort.Tensor {
  const dims = [...tensor.dims];
  const bytes = Uint8Array.from(tensor.bytes).buffer;
  if (tensor.dtype === "float32") return new ort.Tensor("float32", new Float32Array(bytes), dims);
  if (tensor.dtype === "int64") return new ort.Tensor("int64", new BigInt64Array(bytes), dims);
  if (tensor.dtype === "int32") return new ort.Tensor("int32", new Int32Array(bytes), dims);
  if (tensor.dtype === "uint8") return new ort.Tensor("uint8", new Uint8Array(bytes), dims);
  throw new Error(`no runtime tensor for ${tensor.dtype}`);
}

export function floats(tensor: ort.Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Error("not a float32 tensor");
  return tensor.data;
}

export function number(tensor: ort.Tensor | undefined): number {
  const [value] = (tensor?.data ?? []) as ArrayLike<number | bigint | boolean> & Iterable<number | bigint | boolean>;
  return Number(value);
}
