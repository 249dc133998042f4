/**
 * Brings a model to one spelling: opset 18, constants folded, shapes known, functions inlined. Nothing is folded
 * through a kept tensor: those become inputs of the new graph, in the order of the file.
 */

import { isStatic, type Shape } from "../ir/dims.ts";
import { type DataType, dataTypeCode, dataTypeName, isFloat } from "../ir/dtype.ts";
import type { Attributes, Graph, Model, Node, Value } from "../ir/graph.ts";
import { capturedValues, neededNodes } from "../ir/needed.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { OpBuilder } from "../ops/builder.ts";
import { isKnownOp, type OpName, schemaOf } from "../ops/catalog.ts";
import { plainAttributes } from "../ops/define.ts";
import { targetOpset } from "../ops/finish.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { apart } from "./apart.ts";
import { cloneAttributes } from "./clone.ts";
import type { BatchNormMode, ConvertContext } from "./convert/registry.ts";
import { singlePrecision, tensorOfConstant } from "./convert/spelling.ts";
import { converters, newerOperators } from "./convert.ts";
import { type Inlined, inlineFunctions } from "./inline-functions.ts";

export const oldestOpset = 7;
export const newestOpset = 28;

export interface NormalizeOptions {
  /** Sizes of inputs, by name; the file's own where left out. */
  readonly inputShapes?: ReadonlyMap<string, Shape>;
  /** Constants of the file (initializers, or outputs of Constant nodes) that stay values. */
  readonly keep?: readonly Value[];
  readonly batchNorm?: BatchNormMode;
  /** Opset per node of a model whose functions are inlined already; otherwise they are inlined here. */
  readonly versions?: Inlined["versions"];
  /** Values of the file to compute; default: the graph's outputs. */
  readonly targets?: readonly Value[];
  /** Targets that stay tensors of their own, each behind an Identity: nothing is folded or fused through them. */
  readonly held?: readonly Value[];
}

export interface Normalized {
  readonly inputs: readonly Value[];
  /** What each kept tensor of the file became. */
  readonly kept: ReadonlyMap<Value, Value>;
  /** What each target of the file became. */
  readonly targets: ReadonlyMap<Value, Value>;
  /** In topological order; only what the targets need. */
  readonly nodes: readonly Node[];
  /** New running statistics by the statistic of the file, with `batchNorm: "batch"`. */
  readonly statistics: ReadonlyMap<Value, Value>;
}

function checkOpset(model: Model): number {
  // A model that imports other domains only has no node of the standard one.
  const version = model.opsets.get("") ?? model.opsets.get("ai.onnx") ?? (model.opsets.size > 0 ? targetOpset : 1);
  if (version >= oldestOpset && version <= newestOpset) return version;
  throw new OhemgenError(`the model has opset ${version}; ${oldestOpset} to ${newestOpset} are supported`, {
    code: "E132",
    hint: version < oldestOpset ? "Convert it with onnx.version_converter, or export it again." : "Export it with an older opset.",
  });
}

const newerTypes = /^(float8|float4|u?int[42]$)/;

/** @throws OhemgenError E133 for element types that came after opset 18 */
export function checkType(dtype: DataType, where: string): void {
  if (!newerTypes.test(dtype)) return;
  throw new OhemgenError(`${where} is ${dtype}, which opset ${targetOpset} does not have`, {
    code: "E133",
    where,
    hint: "Differentiate the model before it is quantized.",
  });
}

/** @throws OhemgenError where the model does not fit the sizes, or its opset is not supported */
export function normalize(file: Model, options: NormalizeOptions = {}): Normalized {
  const modelVersion = checkOpset(file);
  const { model, versions } = options.versions === undefined ? inlineFunctions(file) : { model: file, versions: options.versions };
  const { graph } = model;
  const op = new OpBuilder();
  const mapped = new Map<Value, Value>();
  const kept = new Map<Value, Value>();
  const statistics = new Map<Value, Value>();
  for (const { name, dtype } of graph.inputs) checkType(dtype, name);
  const inputs = graph.inputs.map((value) => resized(value, options.inputShapes?.get(value.name)));
  graph.inputs.forEach((value, i) => {
    mapped.set(value, inSingle(op, inputs[i] as Value));
  });
  for (const value of options.keep ?? []) {
    const free: Value = { name: value.name, dtype: "float32", shape: storedShape(graph, value) };
    kept.set(value, free);
    mapped.set(value, free);
  }
  const targets = options.targets ?? graph.outputs.map((output) => output.value);
  const readers = new Map<Value, number>();
  const get = (value: Value): Value => {
    const known = mapped.get(value);
    if (known !== undefined) return known;
    if (value.constant === undefined) return bug(`${value.name} is read before it is made`);
    checkType(value.constant.dtype, value.name);
    const constant = op.constant(singlePrecision(value.constant), value.name);
    mapped.set(value, constant);
    return constant;
  };
  const held = new Set(options.held);
  const become = (value: Value | undefined, result: Value | undefined) => {
    if (value === undefined || result === undefined || mapped.has(value)) return;
    mapped.set(value, held.has(value) ? apart(op, result, value.name) : result);
  };
  const convertAll = (all: readonly Node[], ends: readonly Value[]): void => {
    const nodes = neededNodes(all, ends);
    countReaders(readers, nodes, ends);
    for (const node of nodes) {
      if (node.outputs.every((value) => value === undefined || mapped.has(value))) continue;
      const branch = takenBranch(node, get);
      if (branch !== undefined) {
        convertAll(
          branch.nodes,
          branch.outputs.map(({ value }) => value),
        );
        node.outputs.forEach((value, i) => {
          const end = branch.outputs[i]?.value;
          become(value, end === undefined ? undefined : get(end));
        });
        continue;
      }
      const results = convertNode(op, node, {
        version: versions.get(node) ?? modelVersion,
        x: node.inputs.map((value) => (value === undefined ? undefined : get(value))),
        get,
        readers: (value) => (value === undefined ? 0 : (readers.get(value) ?? 0)),
        batchNorm: options.batchNorm ?? "frozen",
        updateStatistic: (source, next) => statistics.set(source, next),
      });
      node.outputs.forEach((value, i) => become(value, results[i]));
    }
  };
  convertAll(graph.nodes, targets);
  const found = new Map(targets.map((value) => [value, get(value)]));
  const ends = [...found.values(), ...statistics.values()];
  return { inputs, kept, targets: found, nodes: op.draft.needed(ends), statistics };
}

/** The branch of an If whose condition is known. */
function takenBranch(node: Node, get: (value: Value) => Value): Graph | undefined {
  if (node.op !== "If" || node.domain !== "" || node.inputs[0] === undefined) return undefined;
  const condition = get(node.inputs[0]).constant;
  if (condition === undefined) return undefined;
  const branch = node.attributes[tensorNumbers(condition)[0] ? "then_branch" : "else_branch"];
  return branch?.type === "graph" ? branch.value : undefined;
}

/** Half, bfloat16 and double models are computed in float32: the loss and the state are, and a gradient needs its range. */
function isOtherFloat(dtype: DataType): boolean {
  return isFloat(dtype) && dtype !== "float32";
}

function inSingle(op: OpBuilder, value: Value): Value {
  return isOtherFloat(value.dtype) ? op.cast(value, "float32") : value;
}

/** Shape of an initializer, or of the tensor of a Constant node. */
function storedShape(graph: Graph, value: Value): readonly number[] {
  const node = value.constant === undefined ? graph.nodes.find((candidate) => candidate.outputs[0] === value) : undefined;
  const tensor = value.constant ?? (node === undefined ? undefined : tensorOfConstant(node.attributes));
  return tensor?.dims ?? bug(`a trained tensor without a shape: ${value.name}`);
}

function resized(value: Value, shape: Shape | undefined): Value {
  return { name: value.name, dtype: value.dtype, shape: shape ?? value.shape };
}

function countReaders(readers: Map<Value, number>, nodes: readonly Node[], ends: readonly Value[]): void {
  const count = (value: Value | undefined) => value !== undefined && readers.set(value, (readers.get(value) ?? 0) + 1);
  for (const node of nodes) {
    node.inputs.forEach(count);
    capturedValues(node).forEach(count);
  }
  ends.forEach(count);
}

type NodeContext = Pick<ConvertContext, "version" | "x" | "readers" | "batchNorm" | "updateStatistic"> & { readonly get: (value: Value) => Value };

function convertNode(op: OpBuilder, node: Node, given: NodeContext): readonly (Value | undefined)[] {
  const same: ConvertContext["same"] = ({ op: type = node.op, inputs = given.x, attrs } = {}) => {
    const names = { node: node.name, outputs: node.outputs.map((value) => value?.name ?? "") };
    if (node.domain !== "" || !isKnownOp(type)) return unknownNode(op, node, inputs, names, given);
    const known = knownAttributes(type, attrs ?? plainAttributes(node.attributes), given.version);
    return op.emitAll(type, inputs, known, { outputs: node.outputs.length, names });
  };
  try {
    const converter = node.domain === "" ? converters[node.op] : undefined;
    const results = converter === undefined ? same() : converter(contextOf(op, node, given, same));
    for (const value of results) if (value !== undefined) checkType(value.dtype, value.name);
    return results;
  } catch (error) {
    if (!(error instanceof OhemgenError) || error.where !== undefined) throw error;
    throw new OhemgenError(error.message, { code: error.code, where: `node ${node.name}`, ...(error.hint ? { hint: error.hint } : {}), cause: error });
  }
}

function contextOf(op: OpBuilder, node: Node, given: NodeContext, same: ConvertContext["same"]): ConvertContext {
  const attribute = (name: string): unknown => node.attributes[name]?.value;
  const { x, version, readers, batchNorm, updateStatistic } = given;
  let scoped: OpBuilder | undefined;
  return {
    // Most converters emit the node as it is.
    get op() {
      scoped ??= node.name === "" ? op : op.scope(node.name.replace(/^\/+/, ""));
      return scoped;
    },
    node,
    x,
    input: (index) => x[index] ?? bug(`${node.op} ${node.name} lacks input ${index}`),
    int: (name, otherwise) => (attribute(name) as number | undefined) ?? otherwise,
    ints: (name) => attribute(name) as readonly number[] | undefined,
    float: (name, otherwise) => (attribute(name) as number | undefined) ?? otherwise,
    string: (name, otherwise) => (attribute(name) as string | undefined) ?? otherwise,
    version,
    same,
    readers,
    batchNorm,
    updateStatistic,
  };
}

/** Attributes the operator has at opset 18. Those of older spellings (`consumed_inputs`, `spatial`) carry nothing; newer ones mean something. */
function knownAttributes(op: OpName, attrs: Readonly<Record<string, unknown>>, version: number): Record<string, unknown> {
  const { attrs: specs } = schemaOf(op);
  const known: Record<string, unknown> = {};
  for (const name in attrs) {
    const value = attrs[name];
    if (value === undefined) continue;
    if (Object.hasOwn(specs, name)) known[name] = inSinglePrecision(name, value);
    else if (version > targetOpset) {
      throw new OhemgenError(`${op} with the attribute ${name}, which opset ${targetOpset} does not have`, {
        code: "E133",
        hint: `Export the model with opset ${targetOpset}.`,
      });
    }
  }
  return known;
}

/** A type or tensor that an attribute names: floats are float32 here. */
function inSinglePrecision(name: string, value: unknown): unknown {
  if (name === "dtype") return isOtherFloat(dataTypeName(value as number) ?? "undefined") ? dataTypeCode("float32") : value;
  return name === "value" ? singlePrecision(value as Tensor) : value;
}

/** A node the catalog does not know: kept as it is, its types taken from the file, dynamic sizes known to nobody. */
function unknownNode(
  op: OpBuilder,
  node: Node,
  inputs: readonly (Value | undefined)[],
  names: { node: string; outputs: readonly string[] },
  { version, get }: NodeContext,
) {
  if (node.domain === "" && newerOperators.has(node.op)) {
    throw new OhemgenError(`${node.op} does not exist in opset ${targetOpset}`, { code: "E133", hint: `Export the model with opset ${targetOpset}.` });
  }
  const types = node.outputs.map((value): { dtype: DataType; shape: Shape | undefined } | undefined => {
    if (value === undefined) return undefined;
    const shape = value.shape?.map((dim) => (typeof dim === "number" ? dim : op.draft.fresh()));
    return { dtype: isOtherFloat(value.dtype) ? "float32" : value.dtype, shape };
  });
  const attributes = Object.values(node.attributes).some(({ type }) => type === "graph") ? subgraphsOf(node, version, get) : node.attributes;
  return op.append(node.op, node.domain, inputs, attributes, types, { names }).outputs as readonly Value[];
}

/** Subgraphs stay as the file has them, so they have to be in its opset; what they read from outside is renewed. */
function subgraphsOf(node: Node, version: number, get: (value: Value) => Value): Attributes {
  if (version !== targetOpset) {
    throw new OhemgenError(`${node.op} whose subgraph is not known beforehand, in opset ${version}`, {
      code: "E131",
      hint: `Convert the model to opset ${targetOpset}, or export it without control flow.`,
    });
  }
  return cloneAttributes(node.attributes, { read: get, write: (value) => value, name: (name) => name });
}

/** Whether every node has outputs of known static shape; for `inspect`. */
export function isFullyStatic(nodes: readonly Node[]): boolean {
  return nodes.every((node) => node.outputs.every((value) => value === undefined || isStatic(value.shape)));
}
