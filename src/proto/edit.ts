/**
 * Changes to a model file that go beyond new numbers: tensors of another shape, inputs that read another tensor,
 * recorded sizes. Whatever is not named stays as it is in the file.
 */

import { dataTypeCode } from "../ir/dtype.ts";
import type { Tensor } from "../ir/tensor.ts";
import { OhemgenError } from "../support/errors.ts";
import { decodeProto, encodeProto } from "./codec.ts";
import {
  type AttributeProto,
  attributeTypes,
  type DimensionProto,
  hasField,
  integerValue,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "./messages.ts";

export interface ModelEdits {
  /** New content of initializers and Constant nodes of the main graph, by name; the element type stays. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Initializers to add. */
  readonly added: ReadonlyMap<string, Tensor>;
  /** What an input of a node reads now; the node is named by one of its outputs. */
  readonly inputs: readonly { readonly node: string; readonly index: number; readonly name: string }[];
  /** Recorded sizes of tensors that nodes make, by name and axis; null: not known. */
  readonly sizes: ReadonlyMap<string, ReadonlyMap<number, number | null>>;
}

/**
 * The model file with the edits made, one set after the other. Edited tensors are stored in it, wherever they were
 * stored before.
 * @throws OhemgenError E106 where a tensor or node is not in the main graph, or has another type.
 */
export function editModel(bytes: Uint8Array, ...edits: readonly ModelEdits[]): Uint8Array {
  const proto = decodeProto(bytes);
  for (const some of edits) edit(proto, some);
  return encodeProto(proto);
}

/** Before IR version 4 an initializer has to be an input too. */
const freeInitializers = 4;

function edit({ graph, irVersion }: ModelProto, { tensors, added, inputs, sizes }: ModelEdits): void {
  const left = new Set(tensors.keys());
  const byOutput = new Map(graph.node.flatMap((node) => node.output.filter((name) => name !== "").map((name) => [name, node] as const)));
  for (const initializer of graph.initializer) {
    const fresh = tensors.get(initializer.name);
    if (fresh === undefined) continue;
    refill(initializer, fresh);
    left.delete(initializer.name);
  }
  for (const [name, fresh] of tensors) {
    const node = byOutput.get(name);
    if (node?.opType !== "Constant") continue;
    refillConstant(node, fresh);
    left.delete(name);
  }
  for (const name of left) missing(`tensor "${name}"`);
  for (const { node: output, index, name } of inputs) {
    const node = byOutput.get(output) ?? missing(`node that makes "${output}"`);
    node.input = node.input.map((input, i) => (i === index ? name : input));
  }
  graph.initializer = [...graph.initializer, ...[...added].map(([name, tensor]) => tensorProto(name, tensor))];
  if (integerValue(irVersion) < freeInitializers) graph.input = [...graph.input, ...[...added].map(([name, tensor]) => inputOf(name, tensor))];
  for (const info of [...graph.input, ...graph.output, ...graph.valueInfo]) {
    const fresh = tensors.get(info.name);
    const changed = fresh === undefined ? sizes.get(info.name) : new Map(fresh.dims.entries());
    if (changed !== undefined) resize(info, changed);
  }
}

function missing(what: string): never {
  throw new OhemgenError(`the model has no ${what}`, {
    code: "E106",
    where: what,
    hint: "The changes belong to another model; use the one they were made for.",
  });
}

const dataFields = ["floatData", "int32Data", "int64Data", "doubleData", "uint64Data", "stringData", "externalData", "dataLocation"] as const;

function refill(proto: TensorProto, { dims, bytes }: Tensor): void {
  // Numbers that were written one by one, unpacked, are among the unknown fields.
  for (const field of [...dataFields, "$unknowns"] as const) delete (proto as Partial<TensorProto>)[field];
  proto.dims = [...dims];
  proto.rawData = bytes;
}

/** In whichever attribute the old numbers were, the new ones are in `value`. */
function refillConstant(node: NodeProto, tensor: Tensor): void {
  const [old] = node.attribute;
  if (old !== undefined && old.name === "value" && hasField(old, "t")) refill(old.t, tensor);
  else node.attribute = [{ name: "value", t: tensorProto("", tensor), type: attributeTypes.tensor } as AttributeProto];
}

function tensorProto(name: string, { dims, dtype, bytes }: Tensor): TensorProto {
  return { dims: [...dims], dataType: dataTypeCode(dtype), ...(name === "" ? {} : { name }), rawData: bytes } as TensorProto;
}

function inputOf(name: string, { dims, dtype }: Tensor): ValueInfoProto {
  return { name, type: { tensorType: { elemType: dataTypeCode(dtype), shape: { dim: dims.map((dimValue) => ({ dimValue })) } } } } as ValueInfoProto;
}

function resize(info: ValueInfoProto, changed: ReadonlyMap<number, number | null>): void {
  const shape = hasField(info, "type") ? info.type?.tensorType?.shape : undefined;
  if (!shape) return;
  shape.dim = shape.dim.map((dim, i): DimensionProto => {
    const size = changed.get(i);
    if (size === undefined || !hasField(dim, "dimValue") || integerValue(dim.dimValue ?? 0) === size) return dim;
    const { dimValue: _, ...rest } = dim;
    return size === null ? rest : { ...rest, dimValue: size };
  });
}
