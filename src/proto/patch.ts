/**
 * New numbers for float tensors of a model file. Works on the file's own bytes, so that nothing but those numbers
 * changes, whatever wrote the file; each tensor keeps its type and its form of storage.
 */

import { elementCount } from "../ir/dims.ts";
import { byteLength, dataTypeName, isFloat } from "../ir/dtype.ts";
import { numberToBfloat16, numberToHalf, type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { OhemgenError } from "../support/errors.ts";
import { decodeMessage } from "./codec.ts";
import { hasField, integerValue, type TensorProto } from "./messages.ts";
import { tensorType } from "./schema.ts";
import { type ExternalReader, externalReference, tensorFromProto, typedStorage } from "./tensors.ts";
import { eachVarint, fieldsOf, pushVarint, rewriteMessage, wireTypes } from "./wire.ts";

/** Bytes to put into a data file beside the model. */
export interface ExternalPatch {
  readonly name: string;
  readonly location: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** The place of a tensor in a data file. */
export interface ExternalRange {
  readonly name: string;
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

export interface PatchedModel {
  /** The new file in pieces: mostly views of the old one. */
  readonly chunks: readonly Uint8Array[];
  readonly external: readonly ExternalPatch[];
  /** Every tensor of the file that is stored outside it. */
  readonly references: readonly ExternalRange[];
}

export interface PatchOptions {
  /** Needed where patched tensors lie outside the file. */
  readonly external?: ExternalReader;
  /** New locations of data files, by the old one. */
  readonly relocate?: ReadonlyMap<string, string>;
}

type MessageKind = "model" | "graph" | "node" | "attribute" | "tensor" | "sparse" | "function" | "training";

/** Where tensors can be: the kind of message behind each field. */
const children: Readonly<Record<MessageKind, Readonly<Record<number, MessageKind>>>> = {
  model: { 7: "graph", 20: "training", 25: "function" },
  graph: { 1: "node", 5: "tensor", 15: "sparse" },
  node: { 5: "attribute" },
  attribute: { 5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse" },
  sparse: { 1: "tensor", 2: "tensor" },
  function: { 7: "node", 11: "attribute" },
  training: { 1: "graph", 2: "graph" },
  tensor: {},
};

/** Below the main graph: its initializers, and what is in its Constant nodes. */
function patchable(kind: MessageKind, child: MessageKind, constant: string | undefined): boolean {
  return kind === "graph" ? child !== "sparse" : constant !== undefined && child !== "graph";
}

/**
 * The model file `bytes` with new values, rounded to each tensor's type. Names are those of initializers of the main
 * graph, or of the output of a Constant node there. Unchanged numbers keep their bits: without a change the pieces
 * are the file itself.
 * @throws OhemgenError E106 where a tensor is not there, is no float tensor or has another size.
 */
export function patchTensors(bytes: Uint8Array, values: ReadonlyMap<string, Float32Array>, options: PatchOptions = {}): PatchedModel {
  const external: ExternalPatch[] = [];
  const references: ExternalRange[] = [];
  const found = new Set<string>();

  /** `main` is true in the main graph; `name` is that of the Constant node around an attribute. */
  const rewrite = (kind: MessageKind, message: Uint8Array, main: boolean, name?: string): Uint8Array[] | undefined => {
    if (kind === "tensor") return rewriteTensor(message, main, name);
    if (kind === "attribute" && name !== undefined && values.has(name)) {
      const numbers = rewriteNumbers(message, values.get(name) as Float32Array, name);
      if (numbers !== undefined) {
        found.add(name);
        return numbers.pieces;
      }
    }
    const made = kind === "node" && main ? constantOutput(message) : name;
    return rewriteMessage(message, ({ field, wireType, content }) => {
      const child = children[kind][field];
      if (child === undefined || wireType !== wireTypes.bytes) return undefined;
      return rewrite(child, content, kind === "model" ? child === "graph" : main && patchable(kind, child, made), made);
    });
  };

  const rewriteTensor = (message: Uint8Array, main: boolean, constant?: string): Uint8Array[] | undefined => {
    const proto = decodeMessage(tensorType, message) as TensorProto;
    const name = constant ?? proto.name;
    const place = proto.dataLocation === 1 ? rangeOf(proto, name) : undefined;
    if (place !== undefined) references.push(place);
    const wanted = main ? values.get(name) : undefined;
    if (wanted !== undefined) {
      found.add(name);
      const tensor = tensorFromProto(proto, `tensor "${name}"`, options.external);
      const fresh = rounded(tensor, wanted, name);
      if (fresh !== undefined && place === undefined) {
        return replaceData(message, hasField(proto, "rawData") ? undefined : typedStorage(tensor.dtype), fresh);
      }
      if (fresh !== undefined && place !== undefined) external.push({ ...place, bytes: fresh });
    }
    return place === undefined ? undefined : relocated(message, options.relocate);
  };

  const chunks = rewrite("model", bytes, false) ?? [bytes];
  for (const name of values.keys()) if (!found.has(name)) mismatch(name, "the model has no such tensor");
  return { chunks, external, references };
}

function rangeOf(proto: TensorProto, name: string): ExternalRange {
  const count = elementCount(proto.dims.map(integerValue));
  const length = byteLength(dataTypeName(proto.dataType) ?? "undefined", count) ?? 0;
  return { name, length, ...externalReference(proto, (text) => mismatch(name, text)) };
}

function mismatch(name: string, text: string): never {
  throw new OhemgenError(`tensor "${name}": ${text}`, {
    code: "E106",
    where: `tensor "${name}"`,
    hint: "The values belong to another model; use the one they were trained from.",
  });
}

/** The name of what a Constant node makes; undefined for other nodes. */
function constantOutput(node: Uint8Array): string | undefined {
  let output: Uint8Array | undefined;
  let isConstant = false;
  for (const { field, content } of fieldsOf(node)) {
    if (field === 2) output ??= content;
    if (field === 4) isConstant = text.decode(content) === "Constant";
  }
  return isConstant && output !== undefined ? text.decode(output) : undefined;
}

const text = new TextDecoder();

/** The bytes of `values` in the tensor's type; undefined where every number already is what it should be. */
function rounded(tensor: Tensor, values: Float32Array, name: string): Uint8Array | undefined {
  const { dtype, dims } = tensor;
  if (!isFloat(dtype)) mismatch(name, `its type ${dtype} cannot take new values`);
  if (values.length !== elementCount(dims)) mismatch(name, `${values.length} values for ${dtype}[${dims}]`);
  if (dtype === "float32") {
    const fresh = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return sameBytes(fresh, tensor.bytes) ? undefined : fresh;
  }
  const fresh = tensor.bytes.slice();
  const view = new DataView(fresh.buffer);
  const old = tensorNumbers(tensor);
  let changed = false;
  values.forEach((value, i) => {
    // A double that rounds to this value keeps its further digits, a NaN its bits.
    if (Object.is(Math.fround(old[i] as number), value)) return;
    changed = true;
    if (dtype === "float64") view.setFloat64(i * 8, value, true);
    else view.setUint16(i * 2, dtype === "float16" ? numberToHalf(value) : numberToBfloat16(value), true);
  });
  return changed ? fresh : undefined;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Hands out the bytes from front to back. */
function inOrder(bytes: Uint8Array): (size: number) => Uint8Array {
  let at = 0;
  return (size) => {
    at += size;
    return bytes.subarray(at - size, at);
  };
}

/** Puts packed `fresh` bytes in the place of a tensor's data, in the form that it has there: raw if not `typed`. */
function replaceData(message: Uint8Array, typed: { readonly field: number; readonly width: number } | undefined, fresh: Uint8Array): Uint8Array[] | undefined {
  const take = inOrder(fresh);
  return rewriteMessage(message, ({ field, content }) => {
    if (typed === undefined) return field === 9 ? [fresh] : undefined;
    if (field !== typed.field) return undefined;
    // Fixed width: as many bytes as this piece of the list had. Else 16-bit floats as varints, as many as it had.
    if (typed.width > 0) return [take(content.length)];
    const out: number[] = [];
    eachVarint(content, () => {
      const [low = 0, high = 0] = take(2);
      pushVarint(out, low | (high << 8));
    });
    return [Uint8Array.from(out)];
  });
}

/**
 * The attributes `value_float` and `value_floats` of a Constant with new numbers; undefined for other attributes,
 * `pieces` is undefined where nothing changes.
 */
function rewriteNumbers(attribute: Uint8Array, values: Float32Array, name: string): { pieces: Uint8Array[] | undefined } | undefined {
  let label = "";
  let size = 0;
  const numbers = new Map([
    ["value_float", 2],
    ["value_floats", 7],
  ]);
  for (const { field, content } of fieldsOf(attribute)) if (field === 1) label = text.decode(content);
  const list = numbers.get(label);
  if (list === undefined) return undefined;
  for (const { field, content } of fieldsOf(attribute)) if (field === list) size += content.length;
  if (size !== values.byteLength) mismatch(name, `${values.length} values where the model has ${size / 4}`);
  const fresh = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const take = inOrder(fresh);
  const pieces = rewriteMessage(attribute, ({ field, content }) => {
    if (field !== list) return undefined;
    const next = take(content.length);
    return sameBytes(next, content) ? undefined : [next];
  });
  return { pieces };
}

/** The tensor with the location of its external data replaced. */
function relocated(message: Uint8Array, relocate: ReadonlyMap<string, string> | undefined): Uint8Array[] | undefined {
  if (relocate === undefined) return undefined;
  return rewriteMessage(message, ({ field, wireType, content }) => {
    if (field !== 13 || wireType !== wireTypes.bytes) return undefined;
    const entry = [...fieldsOf(content)];
    if (!entry.some((part) => part.field === 1 && text.decode(part.content) === "location")) return undefined;
    return rewriteMessage(content, (part) => {
      const target = part.field === 2 ? relocate.get(text.decode(part.content)) : undefined;
      return target === undefined ? undefined : [new TextEncoder().encode(target)];
    });
  });
}
