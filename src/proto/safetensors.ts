/**
 * Safetensors files: a JSON header and the tensors' bytes. Written in the given order, equal input giving equal
 * bytes; read as views, with every offset checked.
 */

import { elementCount } from "../ir/dims.ts";
import { byteLength, type DataType } from "../ir/dtype.ts";
import type { Tensor } from "../ir/tensor.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { joinChunks } from "./codec.ts";

/** Names of element types in the header. */
const typeNames: Readonly<Partial<Record<DataType, string>>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  uint8: "U8",
  bool: "BOOL",
  complex64: "C64",
  float8e4m3fn: "F8_E4M3",
  float8e5m2: "F8_E5M2",
};

const typesByName = new Map(Object.entries(typeNames).map(([dtype, name]) => [name, dtype as DataType]));

/** The limit of the reference implementation. */
const headerLimit = 100_000_000;

export interface SafetensorsFile {
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Record<string, string>;
}

export function encodeSafetensors(tensors: ReadonlyMap<string, Tensor>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  return joinChunks(safetensorsChunks(tensors, metadata));
}

/** The file in pieces, the tensors as views: for writing without a second copy. */
export function safetensorsChunks(tensors: ReadonlyMap<string, Tensor>, metadata: Readonly<Record<string, string>> = {}): Uint8Array[] {
  return [headerOf(tensors, metadata), ...[...tensors.values()].map(({ bytes }) => bytes)];
}

/** The file with tensors that come in pieces: none has to be in memory whole. */
export function* safetensorsPieces(
  tensors: ReadonlyMap<string, Omit<Tensor, "bytes"> & { readonly pieces: () => Iterable<Uint8Array> }>,
): Generator<Uint8Array, void, undefined> {
  yield headerOf(tensors, {});
  for (const { pieces } of tensors.values()) yield* pieces();
}

function headerOf(tensors: ReadonlyMap<string, Omit<Tensor, "bytes">>, metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [["__metadata__", metadata]] : [];
  let offset = 0;
  for (const [name, { dtype, dims }] of tensors) {
    if (name === "__metadata__") bug("a tensor cannot be called __metadata__");
    const type = typeNames[dtype] ?? bug(`safetensors has no type ${dtype}`);
    const end = offset + (byteLength(dtype, elementCount(dims)) ?? bug(`no size of ${dtype}`));
    entries.push([name, { dtype: type, shape: dims, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(objectText(entries));
  // Spaces up to a multiple of 8, so that the data begins aligned.
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}

/** JSON in the order of the entries: an object would put names that look like numbers first. */
function objectText(entries: readonly (readonly [string, unknown])[]): string {
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
}

function corrupt(message: string, name?: string): never {
  const where = name === undefined ? {} : { where: `tensor "${name}"` };
  throw new OhemgenError(`not a valid safetensors file: ${name === undefined ? "" : `tensor "${name}": `}${message}`, {
    code: "E105",
    ...where,
    hint: "The file is truncated, corrupt or of another format.",
  });
}

/** @throws OhemgenError E105 for anything but a complete and consistent file. */
export function decodeSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (bytes.length < 8) corrupt(`${bytes.length} bytes are too few`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerSize = Number(view.getBigUint64(0, true));
  if (headerSize > headerLimit) corrupt(`a header of ${headerSize} bytes`);
  if (headerSize > bytes.length - 8) corrupt(`its header of ${headerSize} bytes does not fit the file of ${bytes.length}`);
  const header = parseHeader(bytes.subarray(8, 8 + headerSize));
  const data = bytes.subarray(8 + headerSize);

  const found: { name: string; begin: number; tensor: Tensor }[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") metadata = metadataOf(entry);
    else {
      const tensor = tensorOf(name, entry, data);
      found.push({ name, begin: tensor.bytes.byteOffset - data.byteOffset, tensor });
    }
  }
  // The order of the data: the header's is lost where names look like numbers.
  found.sort((a, b) => a.begin - b.begin || a.tensor.bytes.length - b.tensor.bytes.length);
  let end = 0;
  for (const { begin, tensor } of found) {
    if (begin !== end) corrupt(begin < end ? "tensors overlap" : `a gap in the data at byte ${end}`);
    end += tensor.bytes.length;
  }
  if (end !== data.length) corrupt(`${data.length} bytes of data where the header lists ${end}`);
  return { tensors: new Map(found.map(({ name, tensor }) => [name, tensor])), metadata };
}

function parseHeader(bytes: Uint8Array): object {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    corrupt("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) return corrupt("its header is not an object");
  return header;
}

function metadataOf(entry: unknown): Record<string, string> {
  const items: [string, unknown][] = typeof entry === "object" && entry !== null ? Object.entries(entry) : [["", entry]];
  if (Array.isArray(entry) || items.some(([, value]) => typeof value !== "string")) corrupt("its metadata is not text");
  return Object.fromEntries(items as [string, string][]);
}

function tensorOf(name: string, entry: unknown, data: Uint8Array): Tensor {
  if (typeof entry !== "object" || entry === null) return corrupt("no description", name);
  const { dtype: type, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const dtype = typesByName.get(String(type)) ?? corrupt(`unknown type ${JSON.stringify(type)}`, name);
  if (!isSizes(shape)) return corrupt("a bad shape", name);
  if (!isSizes(offsets) || offsets.length !== 2) return corrupt("bad offsets", name);
  const [begin = 0, end = 0] = offsets;
  if (begin > end || end > data.length) return corrupt(`its bytes ${begin} to ${end} are not in the file`, name);
  const expected = byteLength(dtype, elementCount(shape));
  if (end - begin !== expected) return corrupt(`${end - begin} bytes for ${dtype}[${shape}]`, name);
  return { dtype, dims: shape, bytes: data.subarray(begin, end) };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
