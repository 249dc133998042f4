import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { tensorOf } from "../../src/ir/tensor.ts";
import { decodeProto, encodeProto, joinChunks } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { type PatchedModel, patchTensors } from "../../src/proto/patch.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/proto/safetensors.ts";
import { BugError, OhemgenError } from "../../src/support/errors.ts";
import { modelDir } from "../models.ts";
import { floats, info, modelBytes, node } from "./build.ts";

const branch = { name: "b", node: [node("Neg", ["h"], ["r"])], output: [info("r")] };
/** Small, so that mutations hit the structure and not the weights. */
const tiny = modelBytes({
  node: [
    node("Constant", [], ["c"], [{ name: "value", t: floats("", [2], [1, 2]), type: 4 }]),
    node("Conv", ["x", "w"], ["h"], [{ name: "pads", ints: [1, 1, 1, 1], type: 7 }]),
    node("If", ["b"], ["i"], [{ name: "then_branch", type: 5, g: branch }]),
    node("Add", ["i", "c"], ["y"]),
  ],
  initializer: [floats("w", [2], [3, 4]), { name: "n", dims: [2], dataType: 7, int64Data: [Uint8Array.of(1, 2)] }],
  sparseInitializer: [{ values: floats("s", [1], [1]), indices: { dims: [1], dataType: 7, int64Data: [Uint8Array.of(1)] }, dims: [4] }],
  input: [info("x", ["N", 3]), info("b", [], 9)],
  output: [info("y", ["N", ""])],
  valueInfo: [info("h", [2])],
});
const network = new Uint8Array(readFileSync(`${modelDir("unet_convtranspose")}/model.onnx`));

type Edit = { at: number; kind: "set" | "insert" | "delete" | "copy"; bytes: Uint8Array; from: number };
const anyEdit = fc.record<Edit>({
  at: fc.nat(1 << 22),
  kind: fc.constantFrom("set", "set", "insert", "delete", "copy"),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc.constantFrom(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f), Uint8Array.of(0), Uint8Array.of(0x80)),
  ),
  from: fc.nat(1 << 22),
});

function apply(source: Uint8Array, edits: readonly Edit[], keep: number): Uint8Array {
  let bytes: Uint8Array = source.slice(0, Math.ceil(source.length * keep));
  for (const { at, kind, bytes: fresh, from } of edits) {
    if (bytes.length === 0) break;
    const place = at % bytes.length;
    if (kind === "set") bytes.set(fresh.subarray(0, bytes.length - place), place);
    else if (kind === "insert") bytes = joinChunks([bytes.subarray(0, place), fresh, bytes.subarray(place)]);
    else if (kind === "delete") bytes = joinChunks([bytes.subarray(0, place), bytes.subarray(place + fresh.length)]);
    else {
      const source2 = bytes.subarray(from % bytes.length, (from % bytes.length) + 40);
      bytes = joinChunks([bytes.subarray(0, place), source2, bytes.subarray(place)]);
    }
  }
  return bytes;
}

/** The result, or undefined after a proper error; any other exception fails the test. */
function orError<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
    expect(error.code).toMatch(/^E10\d$/);
    return undefined;
  }
}

function useModel(bytes: Uint8Array): void {
  const proto = orError(() => decodeProto(bytes));
  if (proto === undefined) return;
  // Once read, the written form is stable.
  const again = encodeProto(proto);
  expect(Buffer.compare(encodeProto(decodeProto(again)), again)).toBe(0);
  const patched: PatchedModel | undefined = orError(() => patchTensors(bytes, new Map([["w", Float32Array.of(9, 9)]])));
  if (patched !== undefined) orError(() => modelFromProto(decodeProto(joinChunks(patched.chunks))));
  const model = orError(() => modelFromProto(proto));
  if (model === undefined) return;
  try {
    orError(() => modelFromProto(decodeProto(encodeModel(model))));
  } catch (error) {
    // What only a made model must have: typed outputs of its own.
    if (!(error instanceof BugError)) throw error;
    expect(error.message).toMatch(/Identity is missing|is not known|are called|inside a function/);
  }
}

const runs = Number(process.env.OHEMGEN_FUZZ_RUNS ?? 3000);

test("mutated and cut small models: a result or a proper error", () => {
  fc.assert(
    fc.property(fc.array(anyEdit, { maxLength: 6 }), fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })), (edits, keep) =>
      useModel(apply(tiny, edits, keep)),
    ),
    { numRuns: runs },
  );
}, 120_000);

test("any bytes after a plausible head", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      useModel(bytes);
      useModel(joinChunks([Uint8Array.of(8, 8, 0x3a, bytes.length & 127), bytes]));
    }),
    { numRuns: runs },
  );
}, 120_000);

test("a real network, mutated in its first and last bytes or cut anywhere", () => {
  fc.assert(
    fc.property(fc.array(anyEdit, { minLength: 1, maxLength: 3 }), fc.constantFrom(1, 1, 0.999, 0.5, 0.01), fc.boolean(), (edits, keep, start) => {
      const near = edits.map((edit) => ({
        ...edit,
        at: start ? edit.at % 6000 : Math.max(0, Math.ceil(network.length * keep) - 1 - (edit.at % 3000)),
      }));
      useModel(apply(network, near, keep));
    }),
    { numRuns: Math.ceil(runs / 30) },
  );
}, 120_000);

test("mutated safetensors files", () => {
  const file = encodeSafetensors(
    new Map([
      ["a", tensorOf("float32", [2], [1, 2])],
      ["b", tensorOf("uint8", [3], [1, 2, 3])],
    ]),
    { k: "v" },
  );
  fc.assert(
    fc.property(fc.array(anyEdit, { minLength: 1, maxLength: 4 }), fc.double({ min: 0, max: 1, noNaN: true }), (edits, keep) => {
      orError(() => decodeSafetensors(apply(file, edits, keep < 0.5 ? 1 : keep)));
    }),
    { numRuns: runs },
  );
}, 120_000);
