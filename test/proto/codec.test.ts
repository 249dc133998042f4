import { readFileSync } from "node:fs";
import onnxProto from "onnx-proto";
import { describe, expect, test } from "vitest";
import { decodeProto, encodeProto, encodeProtoChunks, joinChunks } from "../../src/proto/codec.ts";
import type { ModelProto } from "../../src/proto/messages.ts";
import { schemaFields } from "../../src/proto/schema.ts";
import { pushVarint } from "../../src/proto/wire.ts";
import { availableModels, modelDir } from "../models.ts";
import { errorOf, floats, info, modelBytes, node } from "./build.ts";

const { onnx } = onnxProto;
/** A length-delimited field. */
function field(tag: number, content: Uint8Array): Uint8Array {
  const head = [tag];
  pushVarint(head, content.length);
  return joinChunks([Uint8Array.from(head), content]);
}

const small = (): Uint8Array => new Uint8Array(readFileSync(`${modelDir("unet_convtranspose")}/model.onnx`));

/** Everything `theirs` read is in `ours`, field by field. */
function expectSame(ours: unknown, theirs: unknown, path: string): void {
  if (theirs instanceof Uint8Array) {
    const bytes = ours as Uint8Array;
    if (Buffer.compare(bytes, theirs) !== 0) throw new Error(`${path}: other bytes`);
  } else if (Array.isArray(theirs)) {
    if (/\.(float|double|int32|int64|uint64)Data$/.test(path)) return;
    expect((ours as unknown[]).length, path).toBe(theirs.length);
    for (const [i, item] of theirs.entries()) expectSame((ours as unknown[])[i], item, `${path}[${i}]`);
  } else if (typeof theirs === "object" && theirs !== null && "low" in theirs) {
    const { low, high } = theirs as { low: number; high: number };
    const integer = ours as number | { low: number; high: number };
    if (typeof integer === "number") expect(integer, path).toBe(high * 2 ** 32 + (low >>> 0));
    else expect([integer.low, integer.high], path).toEqual([low, high]);
  } else if (typeof theirs === "object" && theirs !== null) {
    for (const key of Object.keys(theirs)) {
      expectSame((ours as Record<string, unknown>)[key], (theirs as Record<string, unknown>)[key], `${path}.${key}`);
    }
  } else expect(ours, path).toBe(theirs);
}

describe.each(availableModels())("$name", ({ dir }) => {
  const bytes = new Uint8Array(readFileSync(`${dir}/model.onnx`));
  const proto = decodeProto(bytes);

  test("comes back byte for byte", () => {
    expect(Buffer.compare(encodeProto(proto), bytes)).toBe(0);
  });

  test("tensor bytes are views of the file, in both directions", () => {
    const large = proto.graph.initializer.filter(({ rawData }) => rawData.length > 4096);
    for (const { rawData } of large) expect(rawData.buffer).toBe(bytes.buffer);
    const chunks = new Set(encodeProtoChunks(proto).map((chunk) => (chunk.buffer === bytes.buffer ? chunk.byteOffset : -1)));
    for (const { rawData } of large) expect(chunks).toContain(rawData.byteOffset);
  });

  test("onnx-proto reads the same", () => {
    const theirs = onnx.ModelProto.decode(bytes);
    expectSame(proto, theirs, "model");
    expect(theirs.graph?.node?.length).toBeGreaterThan(0);
  });
});

test("field numbers agree with onnx-proto's", () => {
  const numbers = (message: object, type: { encode(message: never): { finish(): Uint8Array } }): number => {
    const [tag = 0, next = 0] = type.encode(message as never).finish();
    return (tag < 128 ? tag : (tag & 127) | (next << 7)) >> 3;
  };
  const ours = schemaFields();
  let compared = 0;
  const samples: unknown[] = ["x", 1, [1], ["x"], {}, [{}], [new Uint8Array(1)], new Uint8Array(1)];
  for (const type of ["ModelProto", "GraphProto", "NodeProto", "AttributeProto", "TensorProto", "ValueInfoProto"] as const) {
    for (const [field, number] of ours.get(type) ?? []) {
      for (const value of samples) {
        let found: number;
        try {
          found = numbers({ [field]: value }, onnx[type]);
        } catch {
          continue;
        }
        if (found === 0) continue;
        expect(found, `${type}.${field}`).toBe(number);
        compared++;
        break;
      }
    }
  }
  expect(compared).toBeGreaterThan(50);
});

test("unknown fields are kept, at every level", () => {
  const extra = Uint8Array.of(0xfa, 0x3e, 3, 1, 2, 3);
  const inner = { ...node("Relu", ["x"], ["y"]), $unknowns: [extra] };
  const bytes = modelBytes({ node: [inner], input: [info("x")], output: [info("y")], $unknowns: [extra] }, { $unknowns: [extra] });
  const proto = decodeProto(bytes);
  expect((proto.graph.node[0] as { $unknowns?: Uint8Array[] }).$unknowns?.map((field) => [...field])).toEqual([[...extra]]);
  expect([...encodeProto(proto)]).toEqual([...bytes]);
  expect(Buffer.from(bytes).toString("hex").split(Buffer.from(extra).toString("hex")).length - 1).toBe(3);
});

test("numbers keep every bit: 64-bit integers, NaN payloads, explicit zeros and empty texts", () => {
  const max = { low: -1, high: 0x7fffffff, unsigned: false };
  const min = { low: 0, high: -0x80000000, unsigned: false };
  const signalling = Uint8Array.of(1, 0, 0xa0, 0x7f);
  const attribute = { name: "a", i: 0, ints: [max, min, -1, 0, 2 ** 53 - 1, 2 ** 40], s: new Uint8Array(0), type: 7 };
  const bytes = modelBytes({
    node: [{ ...node("X", ["x"], ["y"], [attribute]), name: "" }],
    initializer: [{ name: "w", dims: [1], dataType: 1, floatData: [signalling] }],
  });
  const proto = decodeProto(bytes);
  const read = proto.graph.node[0]?.attribute[0];
  expect(read?.ints[0]).toMatchObject(max);
  expect(read?.ints[1]).toMatchObject(min);
  expect(read?.ints.slice(2)).toEqual([-1, 0, 2 ** 53 - 1, 2 ** 40]);
  expect([...encodeProto(proto)]).toEqual([...bytes]);
});

test("large byte fields at any depth get the right lengths", () => {
  const large = (size: number): object => ({
    name: "w",
    dims: [size],
    dataType: 2,
    rawData: new Uint8Array(size).fill(7),
  });
  const graph = (depth: number): object => ({
    name: `g${depth}`,
    initializer: [large(5000 + depth), large(3), large(100_000)],
    node: depth === 0 ? [] : [node("If", ["c"], ["y"], [{ name: "then_branch", type: 5, g: graph(depth - 1) }])],
  });
  const bytes = modelBytes(graph(8) as Record<string, unknown>);
  const theirs = onnx.ModelProto.encode(onnx.ModelProto.decode(bytes)).finish();
  expect(Buffer.compare(encodeProto(decodeProto(bytes)), bytes)).toBe(0);
  // It packs dimensions, as any reader must allow.
  expect(theirs.length).not.toBe(bytes.length);
  expect(Buffer.compare(encodeProto(decodeProto(theirs)), bytes)).toBe(0);
});

describe("what is no ONNX model gets E101", () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ["an empty file", new Uint8Array(0), /empty/],
    ["a text", new TextEncoder().encode("# Models\n\nSegmentation networks exported to ONNX.\n"), /text file/],
    ["a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), /Git LFS/],
    ["a zip archive", Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0), /zip/],
    ["zeros", new Uint8Array(1000), /field number 0/],
    ["a model without a graph", encodeProto({ irVersion: 8 } as ModelProto), /no graph/],
    ["a graph alone", encodeProto({ graph: { name: "g" } } as ModelProto), /neither/],
    ["a length beyond the end", Uint8Array.of(8, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 7), /runs past its end/],
    ["a length beyond 31 bits", Uint8Array.of(8, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 1), /length/],
  ];
  test.each(cases)("%s", (_name, bytes, message) => {
    const error = errorOf(() => decodeProto(bytes), "E101");
    expect(error.message).toMatch(message);
    expect(error.hint).toBeTruthy();
  });

  test("a truncated model, saying where", () => {
    const bytes = small();
    const error = errorOf(() => decodeProto(bytes.subarray(0, 100_000)), "E101");
    expect(error.message).toMatch(/at byte \d+ runs past its end \(the file has 100000 bytes\)/);
  });

  test("messages nested without end", () => {
    let bytes: Uint8Array = new Uint8Array(0);
    // Each level: graph → node → attribute → graph.
    for (let i = 0; i < 300; i++) for (const tag of [0x32, 0x2a, 0x0a]) bytes = field(tag, bytes);
    bytes = field(0x3a, bytes);
    expect(errorOf(() => decodeProto(bytes), "E101").message).toMatch(/depth/);
    expect(errorOf(() => decodeProto(new Uint8Array(1_000_000).fill(0x1b, 0)), "E101").message).toMatch(/depth|group/);
  });

  test("more items than any model has, in bounded memory", () => {
    const nodes = new Uint8Array(10_200_000);
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 0x0a;
    const bytes = field(0x3a, nodes);
    expect(errorOf(() => decodeProto(bytes), "E101").message).toMatch(/more than 5000000 fields/);
  }, 60_000);
});

test("a model as text-like bytes is still a model", () => {
  const bytes = modelBytes({ initializer: [floats("w", [1], [1])] });
  expect(decodeProto(bytes).graph.initializer).toHaveLength(1);
});
