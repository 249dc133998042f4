/** Small model files for tests, made from plain objects in the form of the decoded messages. */

import { expect } from "vitest";
import type { Model } from "../../src/ir/graph.ts";
import { decodeProto, encodeProto } from "../../src/proto/codec.ts";
import { type DecodeOptions, modelFromProto } from "../../src/proto/decode.ts";
import type { ModelProto } from "../../src/proto/messages.ts";
import { OhemgenError } from "../../src/support/errors.ts";

export type Plain = Record<string, unknown>;

export function modelBytes(graph: Plain, model: Plain = {}): Uint8Array {
  const proto = { irVersion: 8, opsetImport: [{ domain: "", version: 18 }], graph: { name: "g", ...graph }, ...model };
  return encodeProto(proto as unknown as ModelProto);
}

export function modelOf(graph: Plain, model: Plain = {}, options: DecodeOptions = {}): Model {
  return modelFromProto(decodeProto(modelBytes(graph, model)), options);
}

export function node(opType: string, input: string[], output: string[], attribute: Plain[] = [], name = ""): Plain {
  return { opType, input, output, attribute, ...(name === "" ? {} : { name }) };
}

export function info(name: string, dims?: (number | string)[], elemType = 1): Plain {
  const shape = dims?.map((dim) => (typeof dim === "number" ? { dimValue: dim } : dim === "" ? {} : { dimParam: dim }));
  return { name, type: { tensorType: { elemType, ...(shape === undefined ? {} : { shape: { dim: shape } }) } } };
}

export function floats(name: string, dims: number[], values: number[]): Plain {
  return { name, dims, dataType: 1, rawData: bytesOf(Float32Array.from(values)) };
}

export function bytesOf(array: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number }): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The error `work` ends with; fails where it is of another kind or there is none. */
export function errorOf(work: () => unknown, code: string): OhemgenError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(OhemgenError);
    expect((error as OhemgenError).code, (error as OhemgenError).message).toBe(code);
    return error as OhemgenError;
  }
  throw new Error(`no error, where ${code} was expected`);
}
