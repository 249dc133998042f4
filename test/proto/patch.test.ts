import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isFloat } from "../../src/ir/dtype.ts";
import { halfToNumber, numberToBfloat16, numberToHalf, tensorNumbers } from "../../src/ir/tensor.ts";
import { decodeProto, joinChunks } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { type PatchOptions, patchTensors } from "../../src/proto/patch.ts";
import { pushVarint } from "../../src/proto/wire.ts";
import { availableModels } from "../models.ts";
import { bytesOf, errorOf, floats, info, modelBytes, node, type Plain } from "./build.ts";

const patched = (bytes: Uint8Array, values: Record<string, number[]>, options?: PatchOptions): Uint8Array =>
  joinChunks(patchTensors(bytes, new Map(Object.entries(values).map(([name, list]) => [name, Float32Array.from(list)])), options).chunks);

/** Float tensors of the main graph: initializers and Constant nodes, by the names they are patched under. */
function floatTensors(bytes: Uint8Array): Map<string, Float32Array> {
  const { graph } = modelFromProto(decodeProto(bytes));
  const found = new Map<string, Float32Array>();
  for (const { name, constant } of graph.initializers) {
    if (constant !== undefined && isFloat(constant.dtype)) found.set(name, Float32Array.from(tensorNumbers(constant)));
  }
  for (const { op, outputs, attributes } of graph.nodes) {
    if (op !== "Constant" || attributes.value?.type !== "tensor" || !isFloat(attributes.value.value.dtype)) continue;
    found.set(outputs[0]?.name ?? "", Float32Array.from(tensorNumbers(attributes.value.value)));
  }
  return found;
}

describe.each(availableModels())("$name", ({ dir }) => {
  const bytes = new Uint8Array(readFileSync(`${dir}/model.onnx`));
  const tensors = floatTensors(bytes);

  test("the values it has leave the file as it is, without a copy", () => {
    expect(tensors.size).toBeGreaterThan(5);
    const { chunks, external } = patchTensors(bytes, tensors);
    expect(chunks).toHaveLength(1);
    expect(chunks[0]).toBe(bytes);
    expect(external).toEqual([]);
  });

  test("new values arrive, and nothing but them differs", () => {
    const values = new Map([...tensors].map(([name, list]) => [name, list.map((v, i) => v + (i % 3) - 0.5)]));
    const result = joinChunks(patchTensors(bytes, values).chunks);
    expect(result.length).toBe(bytes.length);
    const read = floatTensors(result);
    for (const [name, list] of values) expect(Buffer.compare(bytesOf(read.get(name) ?? list), bytesOf(list)), name).toBe(0);
    expect(Buffer.compare(joinChunks(patchTensors(result, tensors).chunks), bytes)).toBe(0);
  });
});

/** Numbers of the first initializer in a model, and its bytes. */
function first(bytes: Uint8Array): number[] {
  const constant = modelFromProto(decodeProto(bytes)).graph.initializers[0]?.constant;
  return constant === undefined ? [] : Array.from(tensorNumbers(constant));
}

function varintList(values: number[]): Uint8Array[] {
  const out: number[] = [];
  for (const v of values) pushVarint(out, v);
  return [Uint8Array.from(out)];
}

describe("storage forms are kept", () => {
  const halves = [1, -2, 0.1].map(numberToHalf);
  const forms: [string, Plain, keyof Plain][] = [
    ["raw float32", { dataType: 1, rawData: bytesOf(Float32Array.of(1, -2, 0.1)) }, "rawData"],
    ["float_data", { dataType: 1, floatData: [bytesOf(Float32Array.of(1, -2, 0.1))] }, "floatData"],
    ["float_data in pieces", { dataType: 1, floatData: [bytesOf(Float32Array.of(1)), bytesOf(Float32Array.of(-2, 0.1))] }, "floatData"],
    ["unpacked float_data", { dataType: 1, $unknowns: [1, -2, 0.1].map((v) => Uint8Array.of(0x25, ...bytesOf(Float32Array.of(v)))) }, "$unknowns"],
    ["raw float16", { dataType: 10, rawData: bytesOf(Uint16Array.from(halves)) }, "rawData"],
    ["float16 in int32_data", { dataType: 10, int32Data: varintList(halves) }, "int32Data"],
    ["raw bfloat16", { dataType: 16, rawData: bytesOf(Uint16Array.from([1, -2, 0.1].map(numberToBfloat16))) }, "rawData"],
    ["raw float64", { dataType: 11, rawData: bytesOf(Float64Array.of(1, -2, 0.1)) }, "rawData"],
    ["double_data", { dataType: 11, doubleData: [bytesOf(Float64Array.of(1, -2, 0.1))] }, "doubleData"],
  ];

  test.each(forms)("%s", (_name, tensor, form) => {
    const rest = { node: [node("Neg", ["x"], ["y"])], input: [info("x")], output: [info("y")] };
    const bytes = modelBytes({ initializer: [{ name: "w", dims: [3], ...tensor }, floats("v", [1], [9])], ...rest });
    const old = first(bytes);
    // Rounded to float32, as a trainer holds them: the stored numbers keep their further digits.
    expect(Buffer.compare(patched(bytes, { w: old }), bytes)).toBe(0);
    const result = patched(bytes, { w: [old[0] as number, 0, 65504] });
    const numbers = first(result);
    expect(numbers.slice(0, 2)).toEqual([old[0], 0]);
    expect(Math.abs((numbers[2] as number) / 65504 - 1)).toBeLessThan(2 ** -8);
    const proto = decodeProto(result).graph.initializer[0] as unknown as Plain;
    expect(proto[form]).toBeTruthy();
    expect((proto[form] as Uint8Array | Uint8Array[]).length).toBe((tensor[form] as Uint8Array | Uint8Array[]).length);
    expect(Buffer.compare(patched(result, { w: old.map(Math.fround) }), bytes) === 0 || tensor.dataType === 11).toBe(true);
  });

  test("float16 is rounded to nearest", () => {
    const bytes = modelBytes({ initializer: [{ name: "w", dims: [3], dataType: 10, rawData: new Uint8Array(6) }] });
    expect(first(patched(bytes, { w: [0.1, 1e6, -1e-9] }))).toEqual([halfToNumber(0x2e66), Number.POSITIVE_INFINITY, -0]);
  });

  test("Constant nodes: value, value_float, value_floats packed or not", () => {
    const packed = Uint8Array.of(0x3a, 8, ...bytesOf(Float32Array.of(1, 2)));
    const bytes = modelBytes({
      node: [
        node("Constant", [], ["a"], [{ name: "value", t: floats("inner", [2], [1, 2]), type: 4 }]),
        node("Constant", [], ["b"], [{ name: "value_float", f: 1, type: 1 }]),
        node("Constant", [], ["c"], [{ name: "value_floats", floats: [1, 2], type: 6 }]),
        node("Constant", [], ["d"], [{ name: "value_floats", type: 6, $unknowns: [packed] }]),
        node("Sum", ["a", "b", "c", "d"], ["y"]),
      ],
      output: [info("y")],
    });
    expect(patched(bytes, { a: [1, 2], b: [1], c: [1, 2], d: [1, 2] })).toEqual(bytes);
    const result = patched(bytes, { a: [5, 2], b: [6], c: [1, 7], d: [8, 2] });
    expect(result.length).toBe(bytes.length);
    const values = modelFromProto(decodeProto(result))
      .graph.nodes.slice(0, 4)
      .map(({ attributes }) => Object.values(attributes)[0]);
    expect(values[0]?.type === "tensor" && Array.from(tensorNumbers(values[0].value))).toEqual([5, 2]);
    expect(values.slice(1)).toEqual([
      { type: "float", value: 6 },
      { type: "floats", value: [1, 7] },
      { type: "floats", value: [8, 2] },
    ]);
  });
});

test("whatever wrote the file, other bytes stay: odd field order, padded lengths, unknown fields", () => {
  const tensor = joinChunks([
    Uint8Array.of(0x4a, 0x84, 0x00, ...bytesOf(Float32Array.of(1))), // raw_data first, its length in two bytes
    Uint8Array.of(0xfa, 0x3e, 1, 7), // unknown
    Uint8Array.of(0x42, 1, 0x77, 0x0a, 1, 1, 0x10, 1), // name, packed dims, type
  ]);
  const graph = joinChunks([Uint8Array.of(0x12, 1, 0x67, 0x2a, 0x80 | tensor.length, 0), tensor]);
  const bytes = joinChunks([Uint8Array.of(0x3a, 0x80 | graph.length, 0), graph, Uint8Array.of(0x08, 0x88, 0)]);
  const result = patched(bytes, { w: [2] });
  expect(first(result)).toEqual([2]);
  expect(result.filter((byte, i) => byte !== bytes[i]).length).toBeLessThanOrEqual(2);
  expect(patched(result, { w: [1] })).toEqual(bytes);
});

test("only the main graph is meant", () => {
  const branch = {
    name: "b",
    initializer: [floats("w", [1], [1])],
    node: [node("Neg", ["w"], ["r"])],
    output: [info("r")],
  };
  const iff = node("If", ["c"], ["y"], [{ name: "then_branch", type: 5, g: branch }]);
  const bytes = modelBytes({
    node: [iff],
    initializer: [floats("w", [1], [1])],
    input: [info("c", [], 9)],
    output: [info("y")],
  });
  const proto = decodeProto(patched(bytes, { w: [4] }));
  expect([...(proto.graph.initializer[0]?.rawData ?? [])]).toEqual([...bytesOf(Float32Array.of(4))]);
  expect([...(proto.graph.node[0]?.attribute[0]?.g.initializer[0]?.rawData ?? [])]).toEqual([...bytesOf(Float32Array.of(1))]);
  const inner = modelBytes({ node: [iff], input: [info("c", [], 9)], output: [info("y")] });
  expect(errorOf(() => patched(inner, { w: [4] }), "E106").message).toMatch(/no such tensor/);
});

test("values that do not fit the model: E106", () => {
  const indices = { name: "i", dims: [1], dataType: 7, rawData: new Uint8Array(8) };
  const bytes = modelBytes({ initializer: [floats("w", [2], [1, 2]), indices] });
  expect(errorOf(() => patched(bytes, { other: [1] }), "E106").message).toContain('"other"');
  expect(errorOf(() => patched(bytes, { w: [1] }), "E106").message).toMatch(/1 values for float32\[2\]/);
  expect(errorOf(() => patched(bytes, { i: [1] }), "E106").message).toMatch(/int64 cannot take/);
});

test("external data: the ranges to write, and new locations wherever a tensor names one", () => {
  const outside = (name: string, offset: number): Plain => ({
    name,
    dims: [2],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries({ location: "m.data", offset: String(offset), length: "8" }).map(([key, value]) => ({
      key,
      value,
    })),
  });
  const branch = { name: "b", initializer: [outside("v", 16)], node: [node("Neg", ["v"], ["r"])], output: [info("r")] };
  const iff = node("If", ["c"], ["y"], [{ name: "then_branch", type: 5, g: branch }]);
  const bytes = modelBytes({
    initializer: [outside("w", 8)],
    node: [iff],
    input: [info("c", [], 9)],
    output: [info("y")],
  });
  const external = () => bytesOf(Float32Array.of(1, 2));
  const values = new Map([["w", Float32Array.of(1, 3)]]);
  const same = patchTensors(bytes, new Map([["w", Float32Array.of(1, 2)]]), { external });
  expect([same.chunks[0], same.external]).toEqual([bytes, []]);
  const result = patchTensors(bytes, values, { external, relocate: new Map([["m.data", "longer-name.data"]]) });
  expect(result.external).toEqual([{ name: "w", location: "m.data", offset: 8, length: 8, bytes: bytesOf(Float32Array.of(1, 3)) }]);
  expect(result.references.map(({ name, offset }) => [name, offset]).sort()).toEqual([
    ["v", 16],
    ["w", 8],
  ]);
  const proto = decodeProto(joinChunks(result.chunks));
  const location = { key: "location", value: "longer-name.data" };
  expect(proto.graph.initializer[0]?.externalData[0]).toMatchObject(location);
  expect(proto.graph.node[0]?.attribute[0]?.g.initializer[0]?.externalData[0]).toMatchObject(location);
  expect(errorOf(() => patchTensors(bytes, values), "E103").message).toContain("m.data");
});
