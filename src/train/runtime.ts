/**
 * What runs graphs, as the loop sees it: sessions and tensors by name. ONNX Runtime in Node (`session.ts`) and in a
 * page are behind it; nothing here knows which.
 */

import type { Tensor as RuntimeTensor } from "onnxruntime-node";
import type { Tensor } from "../ir/tensor.ts";
import { bug } from "../support/errors.ts";

export type { RuntimeTensor };

/** Tensors by input or output name. */
export type Tensors = ReadonlyMap<string, RuntimeTensor>;

export type RuntimeData = Float32Array | Uint8Array | Int32Array | BigInt64Array;

export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** A tensor as this session takes it; the element type is that of the numbers. */
  tensor(data: RuntimeData, dims: readonly number[]): RuntimeTensor;
  /** Runs the graph and returns the outputs asked for, those in `into` in the memory of the tensors there. */
  run(feeds: Tensors, outputs?: readonly string[], into?: Tensors): Promise<Map<string, RuntimeTensor>>;
  close(): Promise<void>;
}

type TensorConstructor = new (type: "float32" | "uint8" | "int32" | "int64", data: RuntimeData, dims: readonly number[]) => RuntimeTensor;

/** @param Tensor the class of the runtime in use */
export function runtimeTensorOf(Tensor: TensorConstructor, data: RuntimeData, dims: readonly number[]): RuntimeTensor {
  if (data instanceof Float32Array) return new Tensor("float32", data, dims);
  if (data instanceof Uint8Array) return new Tensor("uint8", data, dims);
  return data instanceof Int32Array ? new Tensor("int32", data, dims) : new Tensor("int64", data, dims);
}

/** State of a file as the runtime takes it; a copy, so that a run never changes what was read. */
export function stateFor(session: Pick<Session, "tensor">, state: ReadonlyMap<string, Tensor>): Map<string, RuntimeTensor> {
  const result = new Map<string, RuntimeTensor>();
  for (const [name, { dtype, dims, bytes }] of state) {
    // Not bytes.slice(): a Node Buffer would give a view.
    const { buffer } = Uint8Array.from(bytes);
    const data = dtype === "float32" ? new Float32Array(buffer) : dtype === "int64" ? new BigInt64Array(buffer) : bug(`state of type ${dtype}`);
    result.set(name, session.tensor(data, dims));
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

/** Gives back memory of the device; tensors of the CPU are left to the garbage collector. */
export function disposeOnDevice(tensors: Tensors | undefined): void {
  for (const tensor of tensors?.values() ?? []) if (tensor.location !== "cpu") tensor.dispose();
}
