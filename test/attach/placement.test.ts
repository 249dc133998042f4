/** Placement by table: what the tables say of single nodes and of training graphs, and that the runtime agrees where a WebGPU device is. */

import { describe, expect, test } from "vitest";
import { type AttachResult, attach } from "../../src/attach/attach.ts";
import { type KernelProvider, kernelTables, withoutKernel } from "../../src/attach/kernels.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { placementOf } from "../../src/attach/placement.ts";
import { isStatic } from "../../src/ir/dims.ts";
import type { DataType } from "../../src/ir/dtype.ts";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { isKnownOp } from "../../src/ops/catalog.ts";
import { availableModels } from "../models.ts";
import { readNpy } from "../npy.ts";
import { graphOf, modelOf, node, value } from "../passes/compare.ts";
import { haveWebgpu, opens } from "../webgpu.ts";
import { oneNode, probedOperators, typeVariables } from "./one-node.ts";
import { readModel, readReference } from "./reference.ts";

const made = (op: string, types: readonly DataType[], attrs: Readonly<Record<string, unknown>> = {}): Node =>
  node(
    op,
    types.map((dtype, i) => value(`i${i}`, dtype, [2, 3, 4, 4])),
    [value("o", types[0], [2, 3, 4, 4])],
    { attrs },
  );

describe("single nodes", () => {
  test.each<[KernelProvider, Node, RegExp | undefined]>([
    ["cuda", made("Add", ["int32", "int32"]), undefined],
    ["cuda", made("Equal", ["uint8", "uint8"]), /not on uint8 \(input 0\)/],
    ["cuda", made("Where", ["bool", "bool", "bool"]), /not on bool \(input 1\)/],
    ["cuda", made("Pad", ["int32", "int64"]), /not on int32/],
    ["cuda", made("Pad", ["float32", "int64", "float32"]), undefined],
    ["cuda", made("MaxUnpool", ["float32", "int64"]), /no kernel/],
    ["cuda", made("ScatterElements", ["float32", "int32", "float32"], { reduction: "add" }), undefined],
    ["cuda", made("ScatterElements", ["int32", "int32", "int32"], { reduction: "add" }), /reductions only on float32/],
    ["cuda", made("ScatterElements", ["int32", "int32", "int32"]), undefined],
    ["cuda", made("BatchNormalization", ["float32"], { training_mode: 1 }), /training_mode/],
    ["cuda", made("Concat", ["bool", "bool", "bool", "bool"]), undefined],
    ["webgpu", made("OneHot", ["int32", "int32", "float32"]), /no kernel/],
    ["webgpu", made("Cast", ["float32"], { to: 2 }), /casts to/],
    ["webgpu", made("Cast", ["int64"], { to: 1 }), /not on int64/],
    ["webgpu", made("Mish", ["float32"]), undefined],
    ["webgpu", { ...made("Relu", ["float32"]), domain: "com.example" }, /no kernel/],
  ])("%s %s", (provider, single, expected) => {
    const reason = withoutKernel(provider, single);
    if (expected === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(expected);
  });

  test.each(["cuda", "webgpu"] as const)("%s: versions that exist at opset 18, types that exist", (provider) => {
    for (const [op, [since, ...types]] of Object.entries(kernelTables[provider])) {
      expect(
        op === "If" ||
          op === "Loop" ||
          op === "Scan" ||
          isKnownOp(op) ||
          /^(DequantizeLinear|GRU|LSTM|RNN|LRN|LpNormalization|MatMulInteger|Dropout)$/.test(op),
        op,
      ).toBe(true);
      expect(since, op).toBeLessThanOrEqual(18);
      expect(types.join(" "), op).toMatch(/^((b?float(16|32|64)|u?int(8|16|32|64)|bool)( |$))*$/);
    }
  });
});

test("shape arithmetic and a few numbers are told apart from the rest", () => {
  const x = value("x", "float32", ["N", 3]);
  const [size, twice, mask, total, wide] = [
    value("size", "int64", [2]),
    value("twice", "int64", [2]),
    value("mask", "bool", ["N", 3]),
    value("total", "int64", []),
    value("wide", "bool", ["N", 3]),
  ];
  const counter = value("counter", "int64", []);
  const nodes = [
    node("Shape", [x], [size]),
    node("Add", [size, size], [twice]),
    node("Greater", [x, x], [mask]),
    node("Or", [mask, mask], [wide]),
    node("Add", [counter, counter], [total]),
  ];
  const placement = placementOf(modelOf(graphOf([x, counter], nodes, [twice, wide, total])), "webgpu");
  expect(placement.shapes.map(({ node: name }) => name)).toEqual(["Add_twice"]);
  expect(placement.small.map(({ node: name }) => name)).toEqual(["Add_total"]);
  expect(placement.outside).toMatchObject([{ op: "Or", kernelSince: null, types: ["bool", "bool"], reason: "no kernel" }]);
});

function attached(dir: string, options: AttachOptions = {}): AttachResult {
  const model = readModel(dir);
  return attach(model, { ...(model.graph.outputs.length > 1 ? { logits: readReference(dir).logits } : {}), ...options });
}

/** The sizes the reference was made with, where the file leaves them open. */
function fixedSizes(dir: string): Pick<AttachOptions, "inputShapes"> | undefined {
  const [input] = readModel(dir).graph.inputs;
  if (input?.shape === undefined || isStatic(input.shape)) return undefined;
  return { inputShapes: { [input.name]: readNpy(`${dir}/input.npy`).shape } };
}

/** A hinge has no bounds to make bins of. */
const histogram = { loss: { lovasz: { method: "histogram", binary: "sigmoid" } } };
const everything = {
  loss: {
    ce: { budget: "image", minKept: { fraction: "1/16", of: "valid" }, normalizer: "weights", labelSmoothing: 0.1 },
    lovasz: { perImage: true, classes: "all" },
  },
  batchNorm: "batch",
  optimizer: { kind: "adamw", clipNorm: 1, ema: 0.9 },
} as const;

describe.each(availableModels())("$name", ({ dir }) => {
  const fixed = fixedSizes(dir);
  test.each(["cuda", "webgpu"] as const)("%s runs every node that is not arithmetic with sizes or counters", (provider) => {
    const labels = provider === "webgpu" ? ({ labelType: "int32" } as const) : {};
    for (const sizes of fixed === undefined ? [{}] : [{}, fixed]) {
      for (const options of [{}, histogram, everything, { provider }]) {
        for (const [name, model] of Object.entries(attached(dir, { ...labels, ...sizes, ...options }).graphs)) {
          const { outside, small } = placementOf(model, provider);
          const rest = provider === "webgpu" ? small.filter(({ types }) => !types.includes("int64")) : small;
          expect([...outside, ...rest], `${name} ${JSON.stringify({ ...sizes, ...options })}`).toEqual([]);
        }
      }
    }
  });
});

/** A node alone, with the types and constants it has in its graph. */
function alone(single: Node): Model {
  const copies = new Map<Value, Value>();
  const copy = (input: Value | undefined, i: number): Value | undefined => {
    if (input === undefined || input.constant !== undefined) return input;
    const shape = input.shape?.map((dim) => (typeof dim === "number" ? dim : `d${String(dim).replace(/\W/g, "_")}`));
    const fresh = copies.get(input) ?? { name: `i${i}`, dtype: input.dtype, shape };
    copies.set(input, fresh);
    return fresh;
  };
  const inputs = single.inputs.map(copy);
  const outputs = single.outputs.map((output, i) => (output === undefined ? undefined : { name: `o${i}`, dtype: output.dtype, shape: undefined }));
  const results = outputs.filter((output) => output !== undefined);
  return modelOf({ ...graphOf([...copies.values()], [{ ...single, inputs, outputs }], results) });
}

test.skipIf(!haveWebgpu)("the WebGPU provider takes what the table says, and nothing else", async () => {
  const singles = new Map<string, Node>();
  for (const { dir } of availableModels()) {
    const { graphs } = attached(dir, { labelType: "int32" });
    for (const single of [...graphs.train_step.graph.nodes, ...graphs.eval_step.graph.nodes]) {
      const types = single.inputs.map((input) => input?.dtype ?? "").join(",");
      const key = `${single.op}(${types}) ${String(single.attributes["to"]?.value ?? "")} rank ${single.inputs[0]?.shape?.length}`;
      if (single.op !== "If" && !singles.has(key)) singles.set(key, single);
    }
  }
  const differ: string[] = [];
  for (const [key, single] of singles) if ((await opens(alone(single), "webgpu")) !== (withoutKernel("webgpu", single) === undefined)) differ.push(key);
  expect(differ).toEqual([]);
  expect(singles.size).toBeGreaterThan(100);
});

const probedTypes = ["float32", "float16", "float64", "int32", "int64", "uint32", "uint8", "bool"] as const;

test("the operators that are asked about are models the CPU provider takes", async () => {
  const refused: string[] = [];
  for (const op of probedOperators) {
    const types = ["And", "Or", "Xor", "Not"].includes(op) ? ({ T: "bool" } as const) : {};
    if (!(await opens(oneNode(op, types).model, "cpu"))) refused.push(op);
  }
  expect(refused).toEqual([]);
  const left = Object.keys(kernelTables.webgpu).filter((op) => !probedOperators.includes(op));
  expect(left).toEqual(["Cast", "DequantizeLinear", "If"]);
});

test.skipIf(!haveWebgpu)("the WebGPU provider takes every type of the table, and no other", async () => {
  const differ: string[] = [];
  for (const op of probedOperators) {
    for (const variable of typeVariables(op)) {
      for (const type of variable === "I" ? (["int32", "int64"] as const) : probedTypes) {
        const { node: single, model } = oneNode(op, { [variable]: type });
        const taken = await opens(model, "webgpu");
        if (taken !== (withoutKernel("webgpu", single) === undefined)) differ.push(`${op} ${variable}=${type}: ${taken ? "takes it" : "does not"}`);
      }
    }
  }
  expect(differ).toEqual([]);
});
