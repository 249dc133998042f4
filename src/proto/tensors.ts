/**
 * Tensors of the file, in any of their storage forms, as packed little-endian bytes. The byte count always fits
 * type and dimensions; bytes that already have the packed form stay views.
 */

import { elementCount } from "../ir/dims.ts";
import { byteLength, type DataType, dataTypeName } from "../ir/dtype.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { OhemgenError } from "../support/errors.ts";
import { joinChunks } from "./codec.ts";
import { hasField, type Integer, integerValue, type SparseTensorProto, type TensorProto } from "./messages.ts";
import { eachVarint, fieldsOf } from "./wire.ts";

/** Where a tensor's bytes are when they are not in the model file. */
export interface ExternalReference {
  readonly location: string;
  readonly offset: number;
  /** Left out where the file does not say: to the end of the tensor. */
  readonly length?: number;
}

/** Fetches external bytes; it checks the location. `length` is the tensor's size where the file does not say. */
export type ExternalReader = (reference: Required<ExternalReference>) => Uint8Array;

/** Dense results beyond this are refused: a few bytes of a sparse tensor may claim any size. */
const denseLimit = 1 << 28;

/** The list of a tensor's typed storage, by element type, with its field number. */
const typedFields = {
  float: { name: "floatData", field: 4, width: 4, dtypes: ["float32", "complex64"] },
  double: { name: "doubleData", field: 10, width: 8, dtypes: ["float64", "complex128"] },
  int64: { name: "int64Data", field: 7, width: 0, dtypes: ["int64"] },
  uint64: { name: "uint64Data", field: 11, width: 0, dtypes: ["uint32", "uint64"] },
} as const satisfies Record<string, { name: string; field: number; width: number; dtypes: readonly DataType[] }>;

/** Everything not listed above is stored as 32-bit integers. */
const int32Storage = { name: "int32Data", field: 5, width: 0 } as const;

/** How numbers of `dtype` are stored when not as raw bytes; width 0 means varints. */
export function typedStorage(dtype: DataType): {
  readonly name: keyof TensorProto;
  readonly field: number;
  readonly width: number;
} {
  for (const storage of Object.values(typedFields)) {
    if ((storage.dtypes as readonly DataType[]).includes(dtype)) return storage;
  }
  return int32Storage;
}

/**
 * The tensor of a message.
 * @param where what it is, for messages: `initializer "conv.weight"`.
 * @throws OhemgenError E102 where type, dimensions and bytes do not fit, E103 for external data without a reader.
 */
export function tensorFromProto(proto: TensorProto, where: string, external?: ExternalReader): Tensor {
  const fail = (message: string): never => {
    throw new OhemgenError(`${where}: ${message}`, {
      code: "E102",
      where,
      hint: "The file is damaged; export it again.",
    });
  };
  const dtype = dataTypeName(proto.dataType);
  if (dtype === undefined || dtype === "undefined") return fail(`unknown element type ${proto.dataType}`);
  const dims = proto.dims.map((dim) => dimension(dim) ?? fail(`bad dimension ${integerValue(dim)}`));
  const count = elementCount(dims);
  if (!Number.isSafeInteger(count)) return fail(`impossible dimensions [${dims}]`);
  if (dtype === "string") {
    if (proto.stringData.length !== count) return fail(`${proto.stringData.length} strings for the dimensions [${dims}]`);
    return { dtype, dims, bytes: new Uint8Array(0), strings: proto.stringData };
  }
  const expected = byteLength(dtype, count) ?? fail(`unknown size of ${dtype}`);
  const bytes = storedBytes(proto, dtype, expected, fail, where, external);
  if (bytes.length !== expected) {
    return fail(`${bytes.length} bytes of data, but ${dtype}[${dims}] takes ${expected}`);
  }
  return { dtype, dims, bytes };
}

function dimension(dim: Integer): number | undefined {
  const value = integerValue(dim);
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function storedBytes(
  proto: TensorProto,
  dtype: DataType,
  expected: number,
  fail: (message: string) => never,
  where: string,
  external: ExternalReader | undefined,
): Uint8Array {
  if (proto.dataLocation === 1) {
    const reference = externalReference(proto, fail);
    if (external === undefined) {
      throw new OhemgenError(`${where}: its data is in another file, "${reference.location}"`, {
        code: "E103",
        where,
        hint: "Load the model from disk, with its data file beside it.",
      });
    }
    return external({ length: expected, ...reference });
  }
  if (hasField(proto, "rawData")) return proto.rawData;
  const { name, field, width } = typedStorage(dtype);
  const chunks = proto[name] as Uint8Array[];
  const unpacked = (proto.$unknowns ?? []).filter((bytes) => fieldsOf(bytes).next().value?.field === field);
  if (chunks.length > 0 && unpacked.length > 0) return fail("its data is stored in two ways at once");
  if (width > 0) return joinViews(chunks.length > 0 ? chunks : unpacked.map((bytes) => bytes.subarray(-width)));
  const lists = chunks.length > 0 ? chunks : unpacked.map((bytes) => fieldsOf(bytes).next().value?.content ?? fail("bad number"));
  // Sub-byte types hold one packed byte per stored integer.
  const elementWidth = Math.max(1, (byteLength(dtype, 8) ?? 8) / 8);
  return varintBytes(lists, elementWidth, Math.ceil(expected / elementWidth), fail);
}

function joinViews(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : joinChunks(chunks);
}

/** Packs the low `width` bytes of each varint. A varint takes a byte at least, which bounds the allocation. */
function varintBytes(lists: readonly Uint8Array[], width: number, count: number, fail: (message: string) => never): Uint8Array {
  const stored = lists.reduce((sum, list) => sum + list.length, 0);
  if (stored < count) return fail(`at most ${stored} of ${count} stored numbers are there`);
  const bytes = new Uint8Array(count * width);
  const view = new DataView(bytes.buffer);
  let index = 0;
  const put = (low: number, high: number): void => {
    const at = index++ * width;
    if (index > count) fail(`more than ${count} stored numbers`);
    if (width === 1) view.setUint8(at, low & 0xff);
    else if (width === 2) view.setUint16(at, low & 0xffff, true);
    else view.setUint32(at, low, true);
    if (width === 8) view.setUint32(at + 4, high, true);
  };
  for (const list of lists) if (!eachVarint(list, put)) return fail("its last stored number is cut off");
  if (index !== count) return fail(`${index} of ${count} stored numbers are there`);
  return bytes;
}

/** Location, offset and length of external data. */
export function externalReference(proto: TensorProto, fail: (message: string) => never): ExternalReference {
  const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get("location");
  if (location === undefined || location === "") return fail("external data without a location");
  const number = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    return Number.isSafeInteger(value) ? value : fail(`bad ${key} "${text}" of external data`);
  };
  const length = number("length");
  return { location, offset: number("offset") ?? 0, ...(length === undefined ? {} : { length }) };
}

/**
 * The dense form of a sparse tensor (coordinates, or indices into the flattened tensor).
 * @throws OhemgenError E102 for indices out of range and for sizes that no file of weights has.
 */
export function densify(proto: SparseTensorProto, where: string, external?: ExternalReader): Tensor {
  const fail = (message: string): never => {
    throw new OhemgenError(`${where}: ${message}`, {
      code: "E102",
      where,
      hint: "The file is damaged; export it again.",
    });
  };
  if (!hasField(proto, "values") || !hasField(proto, "indices")) return fail("a sparse tensor without values or indices");
  const values = tensorFromProto(proto.values, where, external);
  const indices = tensorFromProto(proto.indices, `${where} (indices)`, external);
  const dims = proto.dims.map((dim) => dimension(dim) ?? fail(`bad dimension ${integerValue(dim)}`));
  const width = (byteLength(values.dtype, 8) ?? fail(`a sparse tensor of ${values.dtype}`)) / 8;
  const size = elementCount(dims) * width;
  if (!Number.isInteger(width) || !(size <= denseLimit)) return fail(`a sparse tensor of type ${values.dtype}[${dims}]`);
  const count = elementCount(values.dims);
  const rank = indices.dims.length === 2 ? dims.length : 1;
  if (indices.dtype !== "int64" || elementCount(indices.dims) !== count * rank) return fail("its indices do not fit its values");
  const bytes = new Uint8Array(size);
  const positions = tensorNumbers(indices);
  const extents = rank === 1 && indices.dims.length !== 2 ? [elementCount(dims)] : dims;
  for (let i = 0; i < count; i++) {
    let flat = 0;
    for (let axis = 0; axis < rank; axis++) {
      const position = positions[i * rank + axis] as number;
      const extent = extents[axis] as number;
      if (!(position >= 0 && position < extent)) return fail(`index ${position} out of range in a sparse tensor`);
      flat = flat * extent + position;
    }
    bytes.set(values.bytes.subarray(i * width, (i + 1) * width), flat * width);
  }
  return { dtype: values.dtype, dims, bytes };
}
