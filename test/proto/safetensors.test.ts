import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DataType } from "../../src/ir/dtype.ts";
import { byteLength } from "../../src/ir/dtype.ts";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";
import { decodeSafetensors, encodeSafetensors, safetensorsChunks } from "../../src/proto/safetensors.ts";
import { BugError } from "../../src/support/errors.ts";
import { errorOf } from "./build.ts";

/** A file with this header text and so many bytes of data. */
function file(header: string, size: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + size);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

test("the layout: header length, JSON padded with spaces, data in the given order", () => {
  const tensors = new Map([
    ["b", tensorOf("float32", [2], [1, -2])],
    ["a", tensorOf("int64", [], [3])],
  ]);
  const bytes = encodeSafetensors(tensors, { step: "3" });
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  expect(size % 8).toBe(0);
  const header = new TextDecoder().decode(bytes.subarray(8, 8 + size));
  expect(header.trimEnd()).toBe(
    '{"__metadata__":{"step":"3"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}',
  );
  expect([...bytes.subarray(8 + size)]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 3, 0, 0, 0, 0, 0, 0, 0]);
  expect(encodeSafetensors(tensors, { step: "3" })).toEqual(bytes);
});

// Written with the reference implementation: safetensors.numpy.save({"w": [[1, 2]] float16, "n": [7] int64}, {"k": "v"}).
const reference =
  "8800000000000000" +
  "7b225f5f6d657461646174615f5f223a7b226b223a2276227d2c226e223a7b226474797065223a22493634222c227368617065223a5b315d2c22646174615f6f666673657473223a5b302c385d7d2c2277223a7b226474797065223a22463136222c227368617065223a5b312c325d2c22646174615f6f666673657473223a5b382c31325d7d7d" +
  "20" +
  "0700000000000000003c0040";

test("a file of the reference implementation", () => {
  const { tensors, metadata } = decodeSafetensors(new Uint8Array(Buffer.from(reference, "hex")));
  expect(metadata).toEqual({ k: "v" });
  expect([...tensors.keys()]).toEqual(["n", "w"]);
  expect(tensors.get("w")).toMatchObject({ dtype: "float16", dims: [1, 2] });
  expect([...(tensors.get("w")?.bytes ?? [])]).toEqual([0, 0x3c, 0, 0x40]);
  expect(Buffer.from(encodeSafetensors(tensors, metadata)).toString("hex")).toBe(reference);
});

const dtypes: DataType[] = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"];
const anyTensor = fc
  .record({ dtype: fc.constantFrom(...dtypes), dims: fc.array(fc.nat(4), { maxLength: 3 }), seed: fc.nat(255) })
  .map(({ dtype, dims, seed }): Tensor => {
    const count = dims.reduce((a, b) => a * b, 1);
    return { dtype, dims, bytes: new Uint8Array(byteLength(dtype, count) ?? 0).fill(seed) };
  });
const anyName = fc.oneof(fc.string(), fc.constantFrom("1", "0", "__proto__", "ä/ö", "constructor")).filter((name) => name !== "__metadata__");

test("round trip of any tensors; reading gives views", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(anyName, anyTensor), { selector: ([name]) => name, maxLength: 6 }), (entries) => {
      // Tensors without bytes may change places with their neighbours.
      const tensors = new Map(entries.filter(([, { bytes }]) => bytes.length > 0));
      const bytes = encodeSafetensors(tensors);
      const read = decodeSafetensors(bytes).tensors;
      expect([...read]).toEqual([...tensors]);
      for (const { bytes: view } of read.values()) expect(view.buffer).toBe(bytes.buffer);
    }),
  );
});

test("writing does not copy tensors", () => {
  const tensor = tensorOf("float32", [2], [1, 2]);
  expect(safetensorsChunks(new Map([["w", tensor]]))[1]).toBe(tensor.bytes);
});

test("what the format cannot hold is a bug of the caller", () => {
  expect(() => encodeSafetensors(new Map([["s", { dtype: "string", dims: [], bytes: new Uint8Array(0) }]]))).toThrow(BugError);
  expect(() => encodeSafetensors(new Map([["__metadata__", tensorOf("float32", [], [1])]]))).toThrow(BugError);
});

describe("damaged and hostile files: E105", () => {
  const entry = (extra: object): string => JSON.stringify({ w: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...extra } });
  test.each<[string, Uint8Array, RegExp]>([
    ["empty", new Uint8Array(0), /too few/],
    ["a header beyond the file", file("{}", 0).fill(0xff, 0, 3), /does not fit/],
    ["a header beyond all memory", file("{}", 0).fill(0xff, 0, 8), /header of/],
    ["no JSON", file("{", 0), /not JSON/],
    ["invalid UTF-8", file("{}", 0).fill(0xff, 9, 10), /not JSON/],
    ["no object", file("[]", 0), /not an object/],
    ["no description", file('{"w":1}', 0), /no description/],
    ["an unknown type", file(entry({ dtype: "F31" }), 8), /unknown type/],
    ["a type like a property of objects", file(entry({ dtype: "constructor" }), 8), /unknown type/],
    ["a negative size", file(entry({ shape: [-2] }), 8), /bad shape/],
    ["a fractional offset", file(entry({ data_offsets: [0, 8.5] }), 8), /bad offsets/],
    ["three offsets", file(entry({ data_offsets: [0, 8, 8] }), 8), /bad offsets/],
    ["an end before the begin", file(entry({ data_offsets: [8, 0] }), 8), /not in the file/],
    ["an end beyond the file", file(entry({}), 4), /not in the file/],
    ["a size that does not fit", file(entry({ shape: [3] }), 8), /8 bytes for float32\[3\]/],
    ["sizes that overflow", file(entry({ shape: [2 ** 40, 2 ** 40] }), 8), /8 bytes for/],
    ["data that nobody lists", file(entry({}), 12), /12 bytes of data/],
    ["a gap", file(entry({ data_offsets: [4, 12] }), 12), /gap/],
    ["an overlap", file('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3), /overlap/],
    ["metadata that is no text", file('{"__metadata__":{"a":1}}', 0), /metadata/],
    ["metadata that is a list", file('{"__metadata__":["a"]}', 0), /metadata/],
  ])("%s", (_name, bytes, message) => expect(errorOf(() => decodeSafetensors(bytes), "E105").message).toMatch(message));
});
