/** A model as its file has it against the same model normalized, both run by ONNX Runtime. */

import type { Shape } from "../../src/ir/dims.ts";
import type { DataType } from "../../src/ir/dtype.ts";
import type { Attributes, Graph, Model, Node, Value } from "../../src/ir/graph.ts";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { inline } from "../../src/passes/inline.ts";
import { type Normalized, type NormalizeOptions, normalize } from "../../src/passes/normalize.ts";
import { attributesOf } from "../autodiff/case.ts";
import { checkForward } from "../autodiff/check.ts";
import { openModel, type Ran } from "../autodiff/runtime.ts";

export function value(name: string, dtype: DataType = "undefined", shape?: Shape): Value {
  return { name, dtype, shape };
}

export function constant(name: string, dtype: DataType, dims: readonly number[], values: readonly number[]): Value {
  return { name, dtype, shape: dims, constant: tensorOf(dtype, dims, values) };
}

interface NodeDetails {
  readonly attrs?: Readonly<Record<string, unknown>>;
  readonly domain?: string;
  readonly graphs?: Readonly<Record<string, Graph>>;
  /** Attributes of a function body by the attribute of the call they stand for. */
  readonly references?: Readonly<Record<string, string>>;
}

export function node(op: string, inputs: readonly (Value | undefined)[], outputs: readonly Value[], details: NodeDetails = {}): Node {
  const graphs: Attributes = Object.fromEntries(Object.entries(details.graphs ?? {}).map(([name, graph]) => [name, { type: "graph", value: graph }]));
  const references: Attributes = Object.fromEntries(Object.entries(details.references ?? {}).map(([name, from]) => [name, { type: "reference", value: from }]));
  const attributes = { ...attributesOf(details.attrs ?? {}), ...graphs, ...references };
  return { op, domain: details.domain ?? "", name: `${op}_${outputs[0]?.name}`, inputs, outputs, attributes };
}

export function graphOf(inputs: readonly Value[], nodes: readonly Node[], outputs: readonly Value[]): Graph {
  return { name: "g", inputs, initializers: [], nodes, outputs: outputs.map((output) => ({ name: output.name, value: output })) };
}

export function modelOf(graph: Graph, rest: Partial<Model> = {}): Model {
  return { irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph, ...rest };
}

export interface Comparison {
  readonly normalized: Normalized;
  /** The normalized model as a file. */
  readonly model: Model;
}

export function normalizedModel(file: Model, options: NormalizeOptions = {}): Comparison {
  const normalized = normalize(file, options);
  const op = new OpBuilder();
  const inputs = [...normalized.inputs, ...normalized.kept.values()];
  const values = inline(op, normalized.nodes, new Map(inputs.map((input) => [input, input])));
  const outputs = file.graph.outputs.map(({ name, value: output }) => {
    const target = normalized.targets.get(output) as Value;
    return { name, value: values.get(target) ?? target };
  });
  return { normalized, model: finishModel(op, "normalized", inputs, outputs) };
}

async function runModel(model: Model, feeds: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Ran>> {
  const session = await openModel(model);
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

/** Both give the same numbers; kept tensors are fed with their values. */
export async function expectSame(file: Model, feeds: Readonly<Record<string, Tensor>>, options: NormalizeOptions = {}): Promise<Comparison> {
  const comparison = normalizedModel(file, options);
  const kept = [...comparison.normalized.kept].map(([source, input]) => [input.name, source.constant as Tensor] as const);
  const expected = await runModel(file, new Map(Object.entries(feeds)));
  checkForward(expected, await runModel(comparison.model, new Map([...Object.entries(feeds), ...kept])));
  return comparison;
}

export function operators(nodes: readonly Node[]): readonly string[] {
  return nodes.map(({ op }) => op);
}
