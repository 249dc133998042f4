/**
 * Checkpoints of ONNX Runtime's on-device training API (1.19.2): one flatbuffer with every tensor under its name.
 * Field numbers are those of its schema, version 2; equal input gives equal bytes.
 */

import { Builder, ByteBuffer } from "flatbuffers";
import { elementCount } from "../ir/dims.ts";
import { byteLength, dataTypeCode, dataTypeName } from "../ir/dtype.ts";
import type { Tensor } from "../ir/tensor.ts";
import { OhemgenError } from "../support/errors.ts";

const identifier = "ODTC";
const version = 2;
/** A flatbuffer is addressed with 31 bits; the rest is for names and tables. */
const sizeLimit = 0x7ff0_0000;

/** Numbers of the fields in their tables; the place in a table's index is 4 + 2·number. */
const checkpointFields = { version: 0, module: 1 };
const moduleFields = { trained: 0, frozen: 1, external: 3 };
const tensorFields = { name: 0, dims: 2, type: 3, raw: 4 };

export interface OrtCheckpoint {
  readonly trained: ReadonlyMap<string, Tensor>;
  readonly frozen: ReadonlyMap<string, Tensor>;
}

export function isOrtCheckpoint(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && new TextDecoder("latin1").decode(bytes.subarray(4, 8)) === identifier;
}

/** @throws OhemgenError E112 where the tensors do not fit one flatbuffer */
export function encodeOrtCheckpoint({ trained, frozen }: OrtCheckpoint): Uint8Array {
  const size = [...trained.values(), ...frozen.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (size > sizeLimit) {
    throw new OhemgenError("the weights do not fit a checkpoint of target ort-training, which holds up to 2 GB", { code: "E112", hint: "Use --target stock." });
  }
  const builder = new Builder(size + 4096);
  const vectors = [trained, frozen].map((tensors) => {
    const offsets = [...tensors].map(([name, tensor]) => writeTensor(builder, name, tensor));
    builder.startVector(4, offsets.length, 4);
    for (const offset of offsets.reverse()) builder.addOffset(offset);
    return builder.endVector();
  });
  builder.startObject(4);
  builder.addFieldOffset(moduleFields.trained, vectors[0] as number, 0);
  builder.addFieldOffset(moduleFields.frozen, vectors[1] as number, 0);
  const module = builder.endObject();
  builder.startObject(4);
  builder.addFieldInt32(checkpointFields.version, version, 0);
  builder.addFieldOffset(checkpointFields.module, module, 0);
  builder.finish(builder.endObject(), identifier);
  return builder.asUint8Array();
}

function writeTensor(builder: Builder, name: string, { dtype, dims, bytes }: Tensor): number {
  const nameAt = builder.createString(name);
  builder.startVector(8, dims.length, 8);
  for (const dim of [...dims].reverse()) builder.addInt64(BigInt(dim));
  const dimsAt = builder.endVector();
  const rawAt = builder.createByteVector(bytes);
  builder.startObject(7);
  builder.addFieldOffset(tensorFields.name, nameAt, 0);
  builder.addFieldOffset(tensorFields.dims, dimsAt, 0);
  builder.addFieldInt32(tensorFields.type, dataTypeCode(dtype), 0);
  builder.addFieldOffset(tensorFields.raw, rawAt, 0);
  return builder.endObject();
}

/** @throws OhemgenError E105 for a damaged file, or one whose numbers lie in another file */
export function decodeOrtCheckpoint(bytes: Uint8Array): OrtCheckpoint {
  try {
    return readCheckpoint(bytes);
  } catch (error) {
    if (error instanceof OhemgenError) throw error;
    return damaged("it is cut off or has offsets that lead nowhere");
  }
}

function damaged(reason: string): never {
  throw new OhemgenError(`not a valid ort-training checkpoint: ${reason}`, { code: "E105", hint: "The file is truncated, corrupt or of another version." });
}

function readCheckpoint(bytes: Uint8Array): OrtCheckpoint {
  const buffer = new ByteBuffer(bytes);
  const within = (at: number, length = 4): number => (at >= 0 && length >= 0 && at + length <= bytes.length ? at : damaged("an offset leads out of it"));
  const field = (table: number, number: number): number => {
    const place = buffer.__offset(within(table), 4 + 2 * number);
    return place === 0 ? 0 : within(table + place, 1);
  };
  const target = (place: number): number => (place === 0 ? damaged("a field is missing") : within(buffer.__indirect(place)));
  const root = within(buffer.readInt32(within(0)));
  const versionAt = field(root, checkpointFields.version);
  if (versionAt === 0 || buffer.readInt32(versionAt) !== version) damaged("it is of another version");
  const module = target(field(root, checkpointFields.module));
  const external = field(module, moduleFields.external);
  if (external !== 0 && buffer.readInt8(external) !== 0) damaged("its numbers are in a second file, which is not supported");
  const tensors = (number: number): ReadonlyMap<string, Tensor> => {
    const place = field(module, number);
    if (place === 0) return new Map();
    const vector = target(place);
    const length = buffer.readInt32(vector);
    within(vector + 4, 4 * length);
    return new Map(Array.from({ length }, (_, i) => readTensor(target(vector + 4 + 4 * i))));
  };
  const readTensor = (table: number): [string, Tensor] => {
    const name = vectorAt(field(table, tensorFields.name), 1);
    const dims = vectorAt(field(table, tensorFields.dims), 8);
    const raw = vectorAt(field(table, tensorFields.raw), 1);
    const typeAt = field(table, tensorFields.type);
    const dtype = dataTypeName(typeAt === 0 ? 0 : buffer.readInt32(typeAt)) ?? damaged("an unknown type");
    const sizes = Array.from({ length: dims.length }, (_, i) => Number(buffer.readInt64(dims.at + 8 * i)));
    const text = new TextDecoder().decode(bytes.subarray(name.at, name.at + name.length));
    if (sizes.some((size) => size < 0) || byteLength(dtype, elementCount(sizes)) !== raw.length) damaged(`"${text}" has ${raw.length} bytes for [${sizes}]`);
    return [text, { dtype, dims: sizes, bytes: bytes.subarray(raw.at, raw.at + raw.length) }];
  };
  const vectorAt = (place: number, width: number): { at: number; length: number } => {
    if (place === 0) return { at: 0, length: 0 };
    const vector = target(place);
    const length = buffer.readInt32(vector);
    return { at: within(vector + 4, width * length), length };
  };
  return { trained: tensors(moduleFields.trained), frozen: tensors(moduleFields.frozen) };
}
