/**
 * Every model in other forms: older and newer opsets, initializers that are inputs, weights beside the file, float16.
 * They compute the same, so the training graphs are the same but for names, and `export` writes into each form.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type AttachResult, unpack } from "../../src/attach/attach.ts";
import { type StoredTensor, storedTensors } from "../../src/attach/trainable.ts";
import { readModelFile, writePatchedModel } from "../../src/files/model-file.ts";
import type { Model } from "../../src/ir/graph.ts";
import { numberToHalf, type Tensor, tensorNumbers } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { long } from "../long.ts";
import { sampledModels } from "../models.ts";
import { python, pythonTest } from "../python.ts";
import { type Feeds, floats, openSession, toRuntime } from "../run-graph.ts";
import { batchOf } from "./reference.ts";
import { structureOf } from "./structure.ts";
import { attachFile, type Variants, variantsOf } from "./variants.ts";

/** Why the version converter of ONNX cannot bring some models to an older opset, in its words. */
const converterFaults = [
  // Relu, Mul, Shape, BatchNormalization: no adapter was written.
  /^\S+: adapter_lookup: Assertion `false` failed: No Adapter (From|To) Version \$\d+ for \w+$/,
  /No Previous Version of LayerNormalization exists$/,
  // It wants the axes in an initializer or a Constant, and one model has them computed.
  /axes_input_to_attribute\.h:\d+: adapt: .* No initializer or constant input to node found$/,
  // It turns ReduceMean's axes into an attribute and leaves another one that came with them.
  /^Unrecognized attribute: noop_with_empty_axes for operator ReduceMean/,
];

const graphNames = ["train_step", "gradient", "update", "eval_step"] as const;

const encoded = new WeakMap<Model, Uint8Array>();

function bytesOf(model: Model): Uint8Array {
  const bytes = encoded.get(model) ?? encodeModel(model);
  encoded.set(model, bytes);
  return bytes;
}

function bytesEqual(a: Model, b: Model): boolean {
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

/** All that a host sees is the same: state, order and names of the parameters, and what the graphs compute. */
function expectSameTraining(result: AttachResult, expected: AttachResult): void {
  expect(result.manifest.parameters).toEqual(expected.manifest.parameters);
  expect(result.manifest.groups).toEqual(expected.manifest.groups);
  expect([...result.state.keys()]).toEqual([...expected.state.keys()]);
  for (const [name, tensor] of expected.state) expect(Buffer.compare(result.state.get(name)?.bytes as Uint8Array, tensor.bytes), name).toBe(0);
  for (const name of graphNames) {
    if (!bytesEqual(result.graphs[name], expected.graphs[name])) expect(structureOf(result.graphs[name])).toEqual(structureOf(expected.graphs[name]));
  }
}

/** Faults that the checker of ONNX finds in the graphs that are not among those checked already. */
function faultsOf(result: AttachResult, checked: AttachResult[], folder: string): string {
  const files = graphNames.flatMap((name) => {
    if (checked.some((other) => bytesEqual(result.graphs[name], other.graphs[name]))) return [];
    const file = join(folder, `${name}.onnx`);
    writeFileSync(file, bytesOf(result.graphs[name]));
    return [file];
  });
  checked.push(result);
  return files.length === 0 ? "" : python("check_graphs.py", files);
}

/** The numbers of a tensor after a step in some direction, rounded as its type stores them. */
function moved(values: Float32Array): Float32Array {
  return values.map((value, i) => value * (1 + ((i % 7) - 3) / 64) + 2 ** -9);
}

function storedBits({ dtype, bytes }: Tensor, values: Float32Array): Buffer {
  const numbers = dtype === "float16" ? Uint16Array.from(values, numberToHalf) : values;
  expect(["float16", "float32"]).toContain(dtype);
  expect(numbers.byteLength).toBe(bytes.byteLength);
  return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

function storedIn(path: string): Map<string, StoredTensor["tensor"]> {
  return new Map(storedTensors(readModelFile(path).model.graph).map(({ value, tensor }) => [value.name, tensor]));
}

/** `export` writes an untouched state back as the same file, and a trained one as that file with other weights: this. */
function exported(path: string, result: AttachResult, folder: string): readonly [source: string, trained: string] {
  const values = unpack(result.manifest, floats(toRuntime(result.state.get("params") as Tensor)));
  const [same, other] = [join(folder, "same.onnx"), join(folder, "moved.onnx")];
  writePatchedModel(path, values, same);
  expect(Buffer.compare(readFileSync(same), readFileSync(path))).toBe(0);
  const trained = new Map([...values].map(([name, numbers]) => [name, moved(numbers)]));
  writePatchedModel(path, trained, other);
  const [before, after] = [storedIn(path), storedIn(other)];
  expect([...after.keys()]).toEqual([...before.keys()]);
  for (const [name, tensor] of before) {
    const numbers = trained.get(name);
    const want = numbers === undefined ? Buffer.from(tensor.bytes) : storedBits(tensor, numbers);
    expect(after.get(name)).toMatchObject({ dtype: tensor.dtype, dims: tensor.dims });
    expect(Buffer.compare(Buffer.from(after.get(name)?.bytes as Uint8Array), want), name).toBe(0);
  }
  return [path, other];
}

/** A float16 converter may leave nodes out of order, which the checker minds: then a file has the faults of its source. */
async function expectValid(pairs: readonly (readonly string[])[]): Promise<void> {
  const said = python("check_models.py", pairs.flat());
  for (const [source = "", exported = ""] of pairs) {
    const of = (path: string) =>
      said
        .split(`${path}: `)
        .slice(1)
        .map((text) => text.split(/^\//m)[0]);
    expect(of(exported)).toEqual(of(source));
    await (await ort.InferenceSession.create(exported, { logSeverityLevel: 3 })).release();
  }
}

async function gradientOf(result: AttachResult, dir: string, half: boolean): Promise<Float32Array> {
  const session = await openSession(bytesOf(result.graphs.gradient));
  const name = result.graphs.gradient.graph.inputs[0]?.name as string;
  const batch = batchOf(dir, name);
  const picture = Uint16Array.from(floats(batch[name]), numberToHalf);
  const dims = batch[name]?.dims as number[];
  // Both get the picture in the numbers that float16 has.
  const fed: Feeds = half
    ? { [name]: new ort.Tensor("float16", picture, dims) }
    : { [name]: new ort.Tensor("float32", Float32Array.from(tensorNumbers({ dtype: "float16", dims, bytes: new Uint8Array(picture.buffer) })), dims) };
  const out = await session.run({ ...batch, ...fed, params: toRuntime(result.state.get("params") as Tensor) });
  await session.release();
  return floats(out["params.grad"]);
}

describe.each(sampledModels())("$name", ({ dir }) => {
  let variants: Variants;
  let original: AttachResult;
  // graphs.test.ts has those of the original.
  let checked: AttachResult[];
  let rounded: AttachResult | undefined;
  let wanted: Float32Array | undefined;
  const file = (name: string) => join(variants.folder, `${name}.onnx`);
  /** A folder inside that of the variants: external data stays where the file says. */
  const scratch = (name: string): string => {
    const folder = join(variants.folder, `${name}-exported`);
    mkdirSync(folder);
    return folder;
  };

  beforeAll(() => {
    variants = variantsOf(dir);
    original = attachFile(`${dir}/model.onnx`, dir);
    checked = [original];
  });
  afterAll(() => rmSync(variants.folder, { recursive: true }));

  pythonTest("other opsets", async () => {
    const opsets = variants.made.filter((name) => name.startsWith("opset-"));
    for (const [name, said] of variants.refused) {
      console.log(`${basename(dir)}, ${name}: the converter says: ${said}`);
      expect(
        converterFaults.some((fault) => fault.test(said)),
        said,
      ).toBe(true);
    }
    expect(opsets).toEqual(expect.arrayContaining(["opset-21", "opset-23", "opset-25"]));
    const files: (readonly string[])[] = [];
    // The oldest and the newest; with OHEMGEN_LONG all between.
    for (const name of long ? opsets : [opsets[0] as string, opsets.at(-1) as string]) {
      const result = attachFile(file(name), dir);
      expectSameTraining(result, original);
      const folder = scratch(name);
      expect(faultsOf(result, checked, folder)).toBe("");
      files.push(exported(file(name), result, folder));
    }
    await expectValid(files);
  });

  pythonTest.each(["ir3", "external"])("%s: the same bytes", async (name) => {
    const result = attachFile(file(name), dir);
    expect(result.manifest).toEqual(original.manifest);
    expectSameTraining(result, original);
    for (const graph of graphNames) expect(bytesEqual(result.graphs[graph], original.graphs[graph]), graph).toBe(true);
    await expectValid([exported(file(name), result, scratch(name))]);
  });

  // Arithmetic is float32 in both, on the same numbers: the gradients have the same bits.
  pythonTest.each(["float16", "float16-io"])("%s trains as the same weights in float32", async (name) => {
    const result = attachFile(file(name), dir);
    rounded ??= attachFile(file("rounded"), dir);
    const expected = rounded;
    wanted ??= await gradientOf(expected, dir, false);
    expectSameTraining(result, expected);
    const folder = scratch(name);
    expect(faultsOf(result, checked, folder)).toBe("");
    const gradient = await gradientOf(result, dir, name === "float16");
    expect(Buffer.compare(Buffer.from(gradient.buffer), Buffer.from(wanted.buffer))).toBe(0);
    expect(gradient.some((value) => value !== 0)).toBe(true);
    await expectValid([exported(file(name), result, folder)]);
  });
});
