/** Runs models of tests on the CPU provider of ONNX Runtime. */

import * as ort from "onnxruntime-node";
import { elementCount } from "../../src/ir/dims.ts";
import type { DataType } from "../../src/ir/dtype.ts";
import type { Model } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";

export interface Ran {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface Runner {
  run(feeds: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Ran>>;
  close(): Promise<void>;
}

export async function openModel(model: Model): Promise<Runner> {
  const session = await ort.InferenceSession.create(encodeModel(model), {
    enableMemPattern: false,
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  return {
    async run(feeds) {
      const tensors = Object.fromEntries(
        [...feeds].filter(([name]) => session.inputNames.includes(name)).map(([name, tensor]) => [name, runtimeTensor(tensor)]),
      );
      const results = await session.run(tensors);
      return new Map(Object.entries(results).map(([name, tensor]) => [name, { dims: tensor.dims, data: numbers(tensor.data as ArrayLike<number | bigint>) }]));
    },
    close: () => session.release(),
  };
}

function numbers(data: ArrayLike<number | bigint>): ArrayLike<number> {
  return typeof data[0] === "bigint" ? Float64Array.from(data as ArrayLike<bigint>, Number) : (data as ArrayLike<number>);
}

const arrays: Partial<Record<DataType, { new (buffer: ArrayBuffer): ort.Tensor["data"] }>> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

export function runtimeTensor({ dtype, dims, bytes }: Tensor): ort.Tensor {
  const Numbers = arrays[dtype];
  if (Numbers === undefined) throw new Error(`no tensor of ${dtype} is fed in tests`);
  const copy = bytes.slice().buffer as ArrayBuffer;
  return new ort.Tensor(dtype as "float32", new Numbers(copy) as Float32Array, [...dims]);
}

export function size(ran: Ran): number {
  return elementCount(ran.dims);
}
