/**
 * Types and shapes of every node against those that the ONNX package infers (strict, with data propagation): ours are
 * the same or say more. Whole models and their gradients, and the package's operator models (every tenth; with OHEMGEN_LONG
 * all), with sizes static and named.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { Dim, Shape } from "../../src/ir/dims.ts";
import { dataTypeCode } from "../../src/ir/dtype.ts";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { isKnownOp } from "../../src/ops/catalog.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { OhemgenError } from "../../src/support/errors.ts";
import { attachFile } from "../attach/variants.ts";
import type { Described } from "../backend/attempt.ts";
import { long, sampled } from "../long.ts";
import { sampledModels } from "../models.ts";
import { python, pythonTest } from "../python.ts";
import { normalizedModel } from "./compare.ts";

type Theirs = readonly [code: number, dims: readonly (number | string | null)[] | null] | null;
type Answer = { readonly error: string } | { readonly nodes: readonly (readonly Theirs[])[] };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ohemgen-shapes-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What the ONNX package infers for each model, in one process. */
function theirs(models: readonly Model[]): readonly Answer[] {
  const paths = models.map((model, i) => {
    const path = join(folder, `${i}.onnx`);
    writeFileSync(path, encodeModel(model));
    return path;
  });
  const lines = python("infer_shapes.py", [], paths.join("\n")).trim().split("\n");
  expect(lines).toHaveLength(models.length);
  return lines.map((line) => JSON.parse(line) as Answer);
}

/** Where one size is less known than it could be. `names`: what their names for sizes are here. */
function lessKnown(ours: Dim | undefined, other: number | string | null, names: Map<string, Dim>): boolean {
  if (other === null) return false;
  if (typeof other === "number") return ours !== other;
  const before = names.get(other);
  if (before === undefined && ours !== undefined) names.set(other, ours);
  // Their name says that two sizes are equal: so must ours. A name of an input is that name or a number.
  return ours === undefined || (before !== undefined && before !== ours);
}

function faultsOfOutput(node: Node, value: Value, [code, dims]: NonNullable<Theirs>, names: Map<string, Dim>): string[] {
  const what = `${node.op} ${node.name}: ${value.dtype}${JSON.stringify(value.shape)}, theirs ${code}${JSON.stringify(dims)}`;
  if (dataTypeCode(value.dtype) !== code) return [`${what}: another type`];
  if (dims === null) return [];
  const { shape } = value;
  if (shape?.length !== dims.length) return [`${what}: another rank`];
  return dims.some((dim, i) => lessKnown(shape[i], dim, names)) ? [`${what}: less known`] : [];
}

/** Models that opset 18 does not allow, so that nothing is inferred: later types, later inputs, domains that are not imported. */
const notInOpset18 = /No opset import for domain|has unsupported type: tensor\((u?int(8|16|32|64)|string)\)|DFT:17\) has input size 3|op_type:StringNormalizer/;

/** Where their inference of opset 18 is wrong: a last window in ceil mode that begins in the padding is left out. */
const wrongOfTheirs = /^test_(averagepool_2d_ceil_last_window_starts_on_pad|maxpool_2d_ceil_output_size_reduce_by_one), /;

/** What their inference knows and ours does not, or knows otherwise; operators without a shape rule are left out. */
function faults(model: Model, answer: Answer): readonly string[] {
  if ("error" in answer) return [answer.error];
  const names = new Map<string, Dim>(model.graph.inputs.flatMap(({ shape }) => (shape ?? []).map((dim) => [String(dim), dim] as const)));
  expect(answer.nodes).toHaveLength(model.graph.nodes.length);
  return model.graph.nodes.flatMap((node, i) => {
    if (node.domain !== "" || !isKnownOp(node.op)) return [];
    return node.outputs.flatMap((value, j) => {
      const other = answer.nodes[i]?.[j];
      return value === undefined || other === null || other === undefined ? [] : faultsOfOutput(node, value, other, names);
    });
  });
}

describe.each(sampledModels())("$name", ({ dir }) => {
  pythonTest("the model and its gradient, as exported and with all sizes dynamic", () => {
    const file = loadModel(new Uint8Array(readFileSync(`${dir}/model.onnx`)));
    const name = file.graph.inputs[0]?.name as string;
    const named = new Map<string, Shape>([[name, ["batch", 3, "height", "width"]]]);
    const models = [normalizedModel(file), normalizedModel(file, { inputShapes: named })].map(({ model }) => model);
    for (const inputShapes of [{}, Object.fromEntries(named)] as Record<string, (number | string)[]>[]) {
      const { graphs } = attachFile(`${dir}/model.onnx`, dir, { inputShapes });
      models.push(graphs.train_step, graphs.eval_step);
    }
    expect(theirs(models).flatMap((answer, i) => faults(models[i] as Model, answer))).toEqual([]);
  });
});

/** Sizes of the inputs as names, but of vectors of integers: those are shapes, axes and the like. */
function withNames({ graph }: Model): ReadonlyMap<string, Shape> {
  return new Map(
    graph.inputs.flatMap(({ name, dtype, shape }) => {
      if (shape === undefined || (shape.length === 1 && dtype.startsWith("int"))) return [];
      return [[name, shape.map((_, i) => `${name}_${i}`)] as const];
    }),
  );
}

/** The model at opset 18; undefined where it is refused. */
function normalizedOrNot(file: Model, inputShapes: ReadonlyMap<string, Shape>): Model | undefined {
  try {
    return normalizedModel(file, { inputShapes, batchNorm: "file" }).model;
  } catch (error) {
    if (error instanceof OhemgenError) return undefined;
    throw error;
  }
}

pythonTest("the operator models of the ONNX package", { timeout: 600_000 }, () => {
  const described = JSON.parse(python("operator_models.py", ["write", folder])) as Described[];
  const tried = sampled(described, 10).flatMap(({ name, file }) => {
    let model: Model;
    try {
      model = loadModel(new Uint8Array(readFileSync(file)));
    } catch (error) {
      if (error instanceof OhemgenError) return [];
      throw error;
    }
    // Sequences and optionals are no tensors.
    const outputs = model.graph.outputs.filter(({ value }) => !value.opaque);
    if (outputs.length === 0 || model.graph.inputs.some(({ opaque }) => opaque)) return [];
    return [new Map<string, Shape>(), withNames(model)].flatMap((shapes, form) => {
      const normalized = normalizedOrNot({ ...model, graph: { ...model.graph, outputs } }, shapes);
      return normalized === undefined ? [] : [{ name: `${name}, ${form === 0 ? "static" : "named"}`, model: normalized }];
    });
  });
  expect(tried.length).toBeGreaterThan(long ? 2500 : 250);
  const answers = theirs(tried.map(({ model }) => model));
  const found = tried.flatMap(({ name, model }, i) => faults(model, answers[i] as Answer).map((fault) => `${name}: ${fault}`));
  expect(found.filter((fault) => !notInOpset18.test(fault) && !wrongOfTheirs.test(fault))).toEqual([]);
  expect(answers.filter((answer) => "nodes" in answer).length).toBeGreaterThan(0.95 * tried.length);
});
