import { describe, expect, test } from "vitest";
import type { Tensor } from "../../src/ir/tensor.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import type { ExternalReader } from "../../src/proto/tensors.ts";
import { pushVarint } from "../../src/proto/wire.ts";
import { bytesOf, errorOf, floats, modelOf, type Plain } from "./build.ts";

function read(tensor: Plain, external?: ExternalReader): Tensor {
  const { graph } = modelOf({ initializer: [{ name: "w", ...tensor }] }, {}, external === undefined ? {} : { external });
  return graph.initializers[0]?.constant as Tensor;
}

const numbers = (tensor: Plain): number[] => Array.from(tensorNumbers(read(tensor)));

/** Packed varints of the numbers, negative ones as 64-bit two's complement. */
function packed(values: number[]): Uint8Array[] {
  const out: number[] = [];
  for (const value of values) pushVarint(out, value >>> 0, value < 0 ? 0xffffffff : Math.floor(value / 2 ** 32));
  return [Uint8Array.from(out)];
}

describe("storage forms", () => {
  test.each<[string, Plain, number[]]>([
    ["raw float32", { dims: [2], dataType: 1, rawData: bytesOf(Float32Array.of(1.5, -2)) }, [1.5, -2]],
    ["float_data", { dims: [2], dataType: 1, floatData: [bytesOf(Float32Array.of(1.5, -2))] }, [1.5, -2]],
    ["float_data in two pieces", { dims: [2], dataType: 1, floatData: [bytesOf(Float32Array.of(1)), bytesOf(Float32Array.of(2))] }, [1, 2]],
    ["double_data", { dims: [1], dataType: 11, doubleData: [bytesOf(Float64Array.of(0.1))] }, [0.1]],
    ["int32 in int32_data", { dims: [3], dataType: 6, int32Data: packed([1, -1, 300]) }, [1, -1, 300]],
    ["int8 in int32_data", { dims: [2], dataType: 3, int32Data: packed([-128, 127]) }, [-128, 127]],
    ["uint8 in int32_data", { dims: [2], dataType: 2, int32Data: packed([0, 255]) }, [0, 255]],
    ["int16 in int32_data", { dims: [2], dataType: 5, int32Data: packed([-300, 300]) }, [-300, 300]],
    ["bool in int32_data", { dims: [3], dataType: 9, int32Data: packed([1, 0, 1]) }, [1, 0, 1]],
    ["float16 in int32_data", { dims: [2], dataType: 10, int32Data: packed([0x3c00, 0xc000]) }, [1, -2]],
    ["bfloat16 in int32_data", { dims: [1], dataType: 16, int32Data: packed([0x3f80]) }, [1]],
    ["int64_data", { dims: [3], dataType: 7, int64Data: packed([5, -7, 2 ** 40]) }, [5, -7, 2 ** 40]],
    ["uint32 in uint64_data", { dims: [1], dataType: 12, uint64Data: packed([4294967295]) }, [4294967295]],
    ["uint64_data", { dims: [1], dataType: 13, uint64Data: packed([2 ** 40]) }, [2 ** 40]],
    ["unpacked float_data", { dims: [2], dataType: 1, $unknowns: [1, 2].map((v) => Uint8Array.of(0x25, ...bytesOf(Float32Array.of(v)))) }, [1, 2]],
    ["unpacked int64_data", { dims: [2], dataType: 7, $unknowns: [Uint8Array.of(0x38, 3), Uint8Array.of(0x38, 0x80, 1)] }, [3, 128]],
    ["a scalar", { dims: [], dataType: 1, rawData: bytesOf(Float32Array.of(4)) }, [4]],
    ["no elements", { dims: [0, 3], dataType: 1 }, []],
  ])("%s", (_name, tensor, expected) => expect(numbers(tensor)).toEqual(expected));

  test("strings", () => {
    expect(read({ dims: [1], dataType: 8, stringData: [new TextEncoder().encode("a")] }).strings).toHaveLength(1);
  });

  test("4-bit numbers, two to a byte", () => {
    expect([...read({ dims: [3], dataType: 22, int32Data: packed([0x21, 0x03]) }).bytes]).toEqual([0x21, 0x03]);
  });

  test("sparse initializers become dense, by coordinates or flat index", () => {
    const sparse = (indices: Plain): number[] => {
      const { graph } = modelOf({ sparseInitializer: [{ values: floats("w", [2], [5, 6]), indices, dims: [2, 3] }] });
      expect(graph.initializers[0]?.name).toBe("w");
      return Array.from(tensorNumbers(graph.initializers[0]?.constant as Tensor));
    };
    expect(sparse({ dims: [2, 2], dataType: 7, int64Data: packed([0, 1, 1, 0]) })).toEqual([0, 5, 0, 6, 0, 0]);
    expect(sparse({ dims: [2], dataType: 7, int64Data: packed([2, 5]) })).toEqual([0, 0, 5, 0, 0, 6]);
    for (const bad of [
      { dims: [2], dataType: 7, int64Data: packed([2, 6]) },
      { dims: [2], dataType: 7, int64Data: packed([-1, 0]) },
    ]) {
      expect(errorOf(() => sparse(bad), "E102").message).toMatch(/out of range/);
    }
  });
});

describe("what does not fit is E102 and names the tensor", () => {
  test.each<[string, Plain, RegExp]>([
    ["too few bytes", { dims: [3], dataType: 1, rawData: new Uint8Array(8) }, /8 bytes of data, but float32\[3\] takes 12/],
    ["too many bytes", { dims: [1], dataType: 1, rawData: new Uint8Array(8) }, /takes 4/],
    ["no data", { dims: [3], dataType: 1 }, /0 bytes/],
    ["few varints", { dims: [3], dataType: 7, int64Data: packed([1]) }, /at most 1 of 3/],
    ["many varints", { dims: [1], dataType: 7, int64Data: packed([1, 2]) }, /more than 1/],
    ["a varint cut off", { dims: [1], dataType: 7, int64Data: [Uint8Array.of(0x80)] }, /cut off/],
    ["a negative dimension", { dims: [-1], dataType: 1 }, /bad dimension -1/],
    ["dimensions beyond all memory", { dims: [2 ** 40, 2 ** 40], dataType: 1 }, /impossible dimensions/],
    ["a large claim without data", { dims: [2 ** 40], dataType: 7 }, /at most 0 of/],
    ["an unknown type", { dims: [1], dataType: 99 }, /unknown element type 99/],
    ["no type", { dims: [1] }, /unknown element type 0/],
    ["strings missing", { dims: [2], dataType: 8 }, /0 strings/],
    ["two forms at once", { dims: [1], dataType: 1, floatData: [new Uint8Array(4)], $unknowns: [Uint8Array.of(0x25, 0, 0, 0, 0)] }, /two ways/],
  ])("%s", (_name, tensor, message) => {
    const error = errorOf(() => read(tensor), "E102");
    expect(error.message).toMatch(message);
    expect(error.message).toContain('initializer "w"');
  });

  test("a sparse tensor that would fill the memory", () => {
    const sparse = { values: floats("w", [0], []), indices: { dims: [0], dataType: 7 }, dims: [2 ** 40] };
    expect(errorOf(() => modelOf({ sparseInitializer: [sparse] }), "E102").message).toMatch(/sparse tensor of type/);
  });
});

describe("external data", () => {
  const entry = (entries: Record<string, string>): Plain => ({
    dims: [2],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  });

  test("is asked for with location, offset and length", () => {
    const asked: unknown[] = [];
    const external: ExternalReader = (reference) => {
      asked.push(reference);
      return bytesOf(Float32Array.of(1, 2));
    };
    expect(Array.from(tensorNumbers(read(entry({ location: "d.bin", offset: "16", length: "8" }), external)))).toEqual([1, 2]);
    read(entry({ location: "d.bin" }), external);
    expect(asked).toEqual([
      { location: "d.bin", offset: 16, length: 8 },
      { location: "d.bin", offset: 0, length: 8 },
    ]);
  });

  test("without a reader, without a location, with nonsense numbers or of the wrong size", () => {
    expect(errorOf(() => read(entry({ location: "d.bin" })), "E103").message).toContain("d.bin");
    const none: ExternalReader = () => new Uint8Array(4);
    expect(errorOf(() => read(entry({}), none), "E102").message).toMatch(/without a location/);
    expect(errorOf(() => read(entry({ location: "d", offset: "-1" }), none), "E102").message).toMatch(/bad offset "-1"/);
    expect(errorOf(() => read(entry({ location: "d", length: "1e9" }), none), "E102").message).toMatch(/bad length/);
    expect(errorOf(() => read(entry({ location: "d" }), none), "E102").message).toMatch(/4 bytes of data/);
  });
});
