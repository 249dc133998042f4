/** `--untie`: shared tensors become one parameter per reading node, in the training graphs and in the exported file. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { inspect } from "../../src/attach/inspect.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { headEdits } from "../../src/attach/reset-head.ts";
import { untieTensors } from "../../src/attach/untie.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { decodeProto, joinChunks } from "../../src/proto/codec.ts";
import { editModel } from "../../src/proto/edit.ts";
import { loadModel } from "../../src/proto/load.ts";
import { patchTensors } from "../../src/proto/patch.ts";
import { randomStream } from "../../src/support/random.ts";
import { bytesOf, errorOf, floats, info, modelBytes, node, type Plain } from "../proto/build.ts";
import { python, pythonTest } from "../python.ts";
import { floats as floatsOf, openSession, toRuntime } from "../run-graph.ts";

const folder = mkdtempSync(join(tmpdir(), "ohemgen-untie-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function learned(name: string, dims: number[], seed = 0): Plain {
  const random = randomStream(seed, 1);
  return floats(
    name,
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.between(-0.5, 0.5)),
  );
}

/** Three layers that read `g` (or what stands for it) and `w`, and a last one of its own. */
function network(reads: readonly [string, string, string], initializer: readonly Plain[], more: Plain[] = [], model: Plain = {}): Uint8Array {
  const layers = reads.flatMap((name, i) => [
    node("Conv", [i === 0 ? "image" : `s${i - 1}`, "w"], [`c${i}`], [], `conv${i}`),
    node("Relu", [`c${i}`], [`r${i}`], [], `relu${i}`),
    node("Mul", [`r${i}`, name], [`s${i}`], [], `scale${i}`),
  ]);
  return modelBytes(
    {
      node: [...more, ...layers, node("Conv", ["s2", "last"], ["logits"], [], "classify")],
      initializer: [...initializer, learned("w", [3, 3, 1, 1], 5), learned("last", [4, 3, 1, 1], 6)],
      input: [info("image", [2, 3, 6, 6])],
      output: [info("logits", [2, 4, 6, 6])],
    },
    model,
  );
}

const scale = learned("g", [3, 1, 1], 7);
const tied = network(["g", "g", "g"], [scale]);
const image = tensorOf(
  "float32",
  [2, 3, 6, 6],
  Float64Array.from({ length: 216 }, (_, i) => Math.sin(i * 1.3)),
);
const labels = tensorOf(
  "uint8",
  [2, 6, 6],
  Float64Array.from({ length: 72 }, (_, i) => (i * 7) % 4),
);

function exported(bytes: Uint8Array, patterns: readonly string[], statistics = false): Uint8Array {
  return editModel(bytes, untieTensors(loadModel(bytes), { patterns, statistics }).edits);
}

async function logitsOf(bytes: Uint8Array): Promise<Float32Array> {
  return floatsOf((await (await openSession(bytes)).run({ image: toRuntime(image) }))["logits"]);
}

/** Gradient by the name of each parameter, at the initial state. */
async function gradients(bytes: Uint8Array, options: AttachOptions): Promise<Map<string, Float32Array>> {
  const { graphs, state, manifest } = attach(loadModel(bytes), options);
  const session = await openSession(graphs.gradient);
  const result = await session.run({ image: toRuntime(image), labels: toRuntime(labels), params: toRuntime(state.get("params") as Tensor) });
  const flat = floatsOf(result["params.grad"]);
  return new Map(manifest.parameters.map(({ name, offset, length }) => [name, flat.subarray(offset, offset + length)]));
}

/** The copies' gradients add up to the shared tensor's: float32 sums of three terms, so a few units of 2⁻²⁴ of the largest. */
function expectSum(parts: readonly (Float32Array | undefined)[], whole: Float32Array | undefined): void {
  expect(whole?.some((x) => x !== 0)).toBe(true);
  const largest = Math.max(...(whole ?? []).map(Math.abs), ...parts.flatMap((part) => Array.from(part ?? [], Math.abs)));
  whole?.forEach((x, i) => {
    const sum = parts.reduce((a, part) => a + (part?.[i] ?? Number.NaN), 0);
    expect(Math.abs(sum - x)).toBeLessThan(16 * 2 ** -24 * largest);
  });
}

const names = ["g", "g@scale1", "g@scale2"];

describe("one parameter per reading node", () => {
  test("the copies start equal, and their gradients add up to that of the shared tensor", async () => {
    const { manifest, state } = attach(loadModel(tied), { untie: ["g"] });
    expect(manifest.untied).toEqual({
      patterns: ["g"],
      statistics: false,
      tensors: [
        { name: "g@scale1", of: "g", reader: "scale1" },
        { name: "g@scale2", of: "g", reader: "scale2" },
      ],
    });
    const params = tensorNumbers(state.get("params") as Tensor) as Float32Array;
    const slices = manifest.parameters.filter(({ name }) => names.includes(name)).map(({ offset, length }) => params.slice(offset, offset + length));
    expect(slices).toHaveLength(3);
    for (const slice of slices) expect(slice).toEqual(slices[0]);
    const [together, apart] = [await gradients(tied, {}), await gradients(tied, { untie: ["g", "w"] })];
    const parts = (all: readonly string[]) => all.map((name) => apart.get(name));
    expectSum(parts(names), together.get("g"));
    expectSum(parts(["w", "w@conv1", "w@conv2"]), together.get("w"));
    expect(apart.get("g")).not.toEqual(apart.get("g@scale1"));
  });

  test("the exported model computes the same, bit for bit, and takes other numbers for each", async () => {
    const file = exported(tied, ["*"]);
    expect(decodeProto(file).graph.initializer.map(({ name }) => name)).toEqual(["g", "w", "last", ...names.slice(1), "w@conv1", "w@conv2"]);
    expect(await logitsOf(file)).toEqual(await logitsOf(tied));
    const moved = joinChunks(patchTensors(file, new Map([["g@scale1", Float32Array.of(1, 2, 3)]])).chunks);
    expect(await logitsOf(moved)).not.toEqual(await logitsOf(tied));
    // What attach makes of the exported file is what it made of the source, untied.
    const [again, first] = [attach(loadModel(file)), attach(loadModel(tied), { untie: ["*"] })];
    expect(again.manifest.parameters).toEqual(first.manifest.parameters);
  });

  test("every other byte stays: without a copy the file is itself, and nodes keep all but what they read", () => {
    const [before, after] = [decodeProto(tied).graph, decodeProto(exported(tied, ["g"])).graph];
    expect(after.initializer.slice(0, 3)).toEqual(before.initializer);
    expect(after.node.map(({ input: _, ...rest }) => rest)).toEqual(before.node.map(({ input: _, ...rest }) => rest));
    expect(after.node.flatMap(({ input }, i) => input.filter((name, j) => name !== before.node[i]?.input[j]))).toEqual(names.slice(1));
  });

  test("patterns of other options name copies; only what a gradient reaches is trained", () => {
    const { parameters } = attach(loadModel(tied), {
      untie: ["g"],
      freeze: ["g@*"],
      optimizer: { learningRateFactors: [{ pattern: "g", factor: 3 }] },
    }).manifest;
    expect(parameters.map(({ name }) => name)).toEqual(["w", "last", "g"]);
  });
});

describe("however the file shares it", () => {
  const through = [node("Identity", ["g"], ["second"], [], "copy1"), node("Identity", ["g"], ["third"], [], "copy2")];

  test("through Identity, under the names the tensors had", async () => {
    const bytes = network(["g", "second", "third"], [scale], through);
    const file = exported(bytes, ["g"]);
    expect(decodeProto(file).graph.node.slice(0, 2)).toMatchObject([{ input: ["g@second"] }, { input: ["g@third"] }]);
    expect(await logitsOf(file)).toEqual(await logitsOf(bytes));
    const [together, apart] = [await gradients(bytes, {}), await gradients(bytes, { untie: ["g"] })];
    expectSum(
      ["g", "g@second", "g@third"].map((name) => apart.get(name)),
      together.get("g"),
    );
  });

  test("through one Identity that several nodes read", async () => {
    const bytes = network(["g", "second", "second"], [scale], through.slice(0, 1));
    const file = exported(bytes, ["g"]);
    expect(decodeProto(file).graph.initializer.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    expect(await logitsOf(file)).toEqual(await logitsOf(bytes));
  });

  test("in a Constant node; readers of its shape are none", async () => {
    const constant = node("Constant", [], ["g"], [{ name: "value", t: { ...scale, name: "" }, type: 4 }]);
    const bytes = network(["g", "g", "g"], [], [constant, node("Shape", ["g"], ["sizes"], [], "shape")]);
    const file = exported(bytes, ["g"]);
    expect(decodeProto(file).graph.initializer.map(({ name }) => name)).toEqual(["w", "last", "g@scale1", "g@scale2"]);
    expect(await logitsOf(file)).toEqual(await logitsOf(bytes));
    const apart = await gradients(bytes, { untie: ["*"] });
    expectSum(
      names.map((name) => apart.get(name)),
      (await gradients(bytes, {})).get("g"),
    );
  });

  test("as an output of the graph, which keeps the tensor of the file", async () => {
    const bytes = modelBytes({ ...decodeProto(tied).graph, output: [info("logits", [2, 4, 6, 6]), info("g", [3, 1, 1])] });
    const { tensors } = untieTensors(loadModel(bytes), { patterns: ["g"], statistics: false });
    expect(tensors.map(({ name }) => name)).toEqual(["g@scale0", "g@scale1", "g@scale2"]);
    expect(await logitsOf(exported(bytes, ["g"]))).toEqual(await logitsOf(bytes));
  });

  test("by nodes without names, and where the name is taken", () => {
    const { graph } = decodeProto(tied);
    const unnamed = graph.node.map(({ name: _, ...rest }) => rest);
    const bytes = modelBytes({ ...graph, node: [...unnamed, node("Neg", ["logits"], ["g@s1"])] });
    expect(untieTensors(loadModel(bytes), { patterns: ["g"], statistics: false }).tensors.map(({ name }) => name)).toEqual(["g@s1_", "g@s2"]);
  });

  test("in calls of functions: a call is one node", async () => {
    const { graph } = decodeProto(tied);
    const body = { name: "Layer", domain: "own", input: ["x", "y"], output: ["z"], node: [node("Mul", ["x", "y"], ["z"])], opsetImport: [{ version: 18 }] };
    const calls = graph.node.map((each) => (each.opType === "Mul" ? { ...each, opType: "Layer", domain: "own" } : each));
    const opsetImport = [
      { domain: "", version: 18 },
      { domain: "own", version: 1 },
    ];
    const bytes = modelBytes({ ...graph, node: calls }, { functions: [body], opsetImport });
    const apart = await gradients(bytes, { untie: ["g"] });
    expectSum(
      names.map((name) => apart.get(name)),
      (await gradients(tied, {})).get("g"),
    );
    expect(await logitsOf(exported(bytes, ["g"]))).toEqual(await logitsOf(bytes));
  });

  test("running statistics too, where training moves them", () => {
    const norm = (i: number) => node("BatchNormalization", [i === 0 ? "image" : `n${i - 1}`, `a${i}`, `b${i}`, "mean", "var"], [`n${i}`], [], `norm${i}`);
    const own = [0, 1].flatMap((i) => [learned(`a${i}`, [3], i), learned(`b${i}`, [3], i + 2)]);
    const bytes = modelBytes({
      node: [norm(0), norm(1), node("Conv", ["n1", "last"], ["logits"])],
      initializer: [...own, learned("mean", [3]), floats("var", [3], [1, 2, 3]), learned("last", [4, 3, 1, 1])],
      input: [info("image", [2, 3, 6, 6])],
      output: [info("logits", [2, 4, 6, 6])],
    });
    const { runningStatistics } = attach(loadModel(bytes), { batchNorm: "batch", untie: ["*"] }).manifest;
    expect(runningStatistics.map(({ name }) => name)).toEqual(["mean", "var", "mean@norm1", "var@norm1"]);
    errorOf(() => attach(loadModel(bytes), { untie: ["*"] }), "E212");
  });

  test("with a fresh head made of what was shared", async () => {
    const { graph } = decodeProto(tied);
    const both = [...graph.node, node("Conv", ["s0", "last"], ["side"], [], "other")];
    const bytes = modelBytes({ ...graph, node: both });
    const options = { patterns: ["last"], statistics: false };
    const { model, edits } = untieTensors(loadModel(bytes), options);
    const file = editModel(bytes, edits, headEdits(model, ["logits"], { classes: 5, seed: 1 }));
    expect(decodeProto(file).graph.initializer.map(({ name, dims }) => [name, Number(dims[0])])).toEqual([
      ["g", 3],
      ["w", 3],
      ["last", 5],
      ["last@other", 4],
    ]);
    const { parameters } = attach(loadModel(bytes), { logits: "logits", untie: ["last"], resetHead: 5, seed: 1 }).manifest;
    expect(parameters.find(({ name }) => name === "last")?.shape).toEqual([5, 3, 1, 1]);
  });

  pythonTest("files before IR version 4 list the copies as inputs, and pass the ONNX checker as all do", async () => {
    const { graph } = decodeProto(tied);
    const dims: Readonly<Record<string, number[]>> = { g: [3, 1, 1], w: [3, 3, 1, 1], last: [4, 3, 1, 1] };
    const inputs = [...graph.input, ...Object.entries(dims).map(([name, sizes]) => info(name, sizes))];
    const old = modelBytes({ ...graph, input: inputs }, { irVersion: 3, opsetImport: [{ domain: "", version: 8 }] });
    const paths = [old, tied, network(["g", "second", "third"], [scale], through)].map((bytes, i) => {
      const path = join(folder, `${i}.onnx`);
      writeFileSync(path, exported(bytes, ["g"]));
      return path;
    });
    expect(python("check_models.py", paths)).toBe("");
    expect(await logitsOf(exported(old, ["g"]))).toEqual(await logitsOf(old));
  });

  pythonTest("as the TorchScript exporter leaves it", async () => {
    const path = join(folder, "torch.onnx");
    python("export_tied.py", [path]);
    const bytes = new Uint8Array(readFileSync(path));
    const model = loadModel(bytes);
    expect(inspect(model).shared).toEqual([
      { name: "1.gamma", readers: ["/1/Mul", "/2/Mul", "/3/Mul"] },
      { name: "1.beta", readers: ["/1/Add_1", "/2/Add_1", "/3/Add_1"] },
    ]);
    expect(inspect(model, { untie: ["*"] }).shared).toEqual([]);
    const { tensors } = untieTensors(model, { patterns: ["*"], statistics: false });
    expect(tensors.map(({ name }) => name)).toEqual(["1.gamma@2.gamma", "1.gamma@3.gamma", "1.beta@2.beta", "1.beta@3.beta"]);
    const [file, picture] = [exported(bytes, ["*"]), tensorOf("float32", [2, 3, 8, 8], new Float64Array(384).fill(0.3))];
    const run = async (data: Uint8Array) => floatsOf((await (await openSession(data)).run({ image: toRuntime(picture) }))["logits"]);
    expect(await run(file)).toEqual(await run(bytes));
  });
});

describe("refused", () => {
  test.each([
    ["nothing*", /matches no parameter that several nodes read/, /Shared are: g, w/],
    ["last", /only classify reads it/, /Shared are/],
  ])("--untie %s", (pattern, message, hint) => {
    const error = errorOf(() => attach(loadModel(tied), { untie: [pattern] }), "E212");
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
    expect(error.exitCode).toBe(2);
  });

  test("a pattern leaves out what is no parameter; its whole name does not", () => {
    const mask = { ...floats("m", [1], [0]), rawData: bytesOf(Float32Array.of(2)) };
    const { graph } = decodeProto(tied);
    const scaled = [0, 1].map((i) => node("Mul", [i === 0 ? "logits" : "t0", "m"], [`t${i}`], [], `times${i}`));
    const bytes = modelBytes({ ...graph, node: [...graph.node, ...scaled], initializer: [...graph.initializer, mask], output: [info("t1", [2, 4, 6, 6])] });
    const untied = (pattern: string) => untieTensors(loadModel(bytes), { patterns: [pattern], statistics: false }).tensors.map(({ name }) => name);
    expect(untied("*")).not.toContain("m@times1");
    expect(untied("m")).toEqual(["m@times1"]);
  });
});
