/**
 * A data file beside a model: large tensors one after another, each at an aligned offset so that a runtime can map it.
 * What is in it is what the model refers to, in the order in which the model was encoded.
 */

import type { Graph } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { decodeProto, encodeProtoChunks } from "./codec.ts";
import type { ExternalPlace } from "./encode.ts";
import { hasField, type TensorProto } from "./messages.ts";
import { tensorFromProto } from "./tensors.ts";

/** Above this, in bytes of tensors, a model has them in a file of their own unless told otherwise: protobuf ends at 2 GB. */
export const largestInside = 1.5e9;

/** Smaller tensors stay inside: runtimes read sizes and axes before they open data files. */
const smallestOutside = 1024;
/** Of a page, which mapping needs. */
const alignment = 4096;

export class ExternalFile {
  /** Name of the file, relative to the model's folder. */
  readonly location: string;
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  constructor(location: string) {
    this.location = location;
  }

  /** Takes a tensor in, if it is large; as the option `external` of `encodeModel`. */
  readonly place = (tensor: Tensor): ExternalPlace | undefined => {
    if (!isLarge(tensor)) return undefined;
    const gap = (alignment - (this.length % alignment)) % alignment;
    if (gap > 0) this.parts.push(new Uint8Array(gap));
    const offset = this.length + gap;
    const { length } = tensor.bytes;
    this.parts.push(tensor.bytes);
    this.length = offset + length;
    return { location: this.location, offset, length };
  };

  /** Its bytes, tensors as views; empty where no tensor was large. */
  get pieces(): readonly Uint8Array[] {
    return this.parts;
  }
}

function isLarge({ bytes, strings }: Tensor): boolean {
  return strings === undefined && bytes.length >= smallestOutside;
}

/** Bytes of the large constants that the nodes of a graph read. */
export function largeBytes({ nodes }: Pick<Graph, "nodes">): number {
  const seen = new Set<Tensor>();
  let sum = 0;
  for (const { inputs } of nodes) {
    for (const value of inputs) {
      const tensor = value?.constant;
      if (tensor === undefined || !isLarge(tensor) || seen.has(tensor)) continue;
      seen.add(tensor);
      sum += tensor.bytes.length;
    }
  }
  return sum;
}

const storageFields = ["rawData", "floatData", "int32Data", "int64Data", "doubleData", "uint64Data", "$unknowns"] as const;

/**
 * A model file whose initializers of the main graph move into a data file; what lies in data files already stays there.
 * @param bytes a whole ONNX file
 */
export function moveOutside(bytes: Uint8Array, location: string): { readonly model: Uint8Array[]; readonly data: readonly Uint8Array[] } {
  const proto = decodeProto(bytes);
  const file = new ExternalFile(location);
  for (const initializer of proto.graph.initializer) {
    if (hasField(initializer, "dataLocation") && initializer.dataLocation === 1) continue;
    const place = file.place(tensorFromProto(initializer, `initializer "${initializer.name}"`));
    if (place === undefined) continue;
    for (const field of storageFields) delete (initializer as Partial<TensorProto>)[field];
    initializer.externalData = Object.entries(place).map(([key, value]) => ({ key, value: String(value) }));
    initializer.dataLocation = 1;
  }
  return { model: encodeProtoChunks(proto), data: file.pieces };
}
