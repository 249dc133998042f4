/**
 * `Model` → messages → bytes, for the models ohemgen makes. Names are given here: inputs and outputs keep theirs
 * exactly, everything else gets a unique one near its hint. Equal models give equal bytes.
 */

import type { Shape } from "../ir/dims.ts";
import { dataTypeCode } from "../ir/dtype.ts";
import type { Attribute, FunctionBody, Graph, Model, Node, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { assert, bug } from "../support/errors.ts";
import { encodeProto, encodeProtoChunks } from "./codec.ts";
import { attributeTypes, integerOf, type ModelProto } from "./messages.ts";

/** A message to be encoded: a plain object with the fields that are set. */
type Message = Record<string, unknown>;

export interface EncodeOptions {
  /** Asked for each initializer: the place of its bytes in another file, or undefined to keep them inside. */
  readonly external?: (tensor: Tensor) => ExternalPlace | undefined;
}

export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * The bytes of a model. Only constants that nodes read are written. A value that is not defined, defined twice, or an
 * output that is an input, a constant or another output is a bug of the pass before.
 */
export function encodeModel(model: Model, options: EncodeOptions = {}): Uint8Array {
  return encodeProto(protoFromModel(model, options));
}

/** The bytes in pieces, with the model's tensors as views: for files of many megabytes. */
export function encodeModelChunks(model: Model, options: EncodeOptions = {}): Uint8Array[] {
  return encodeProtoChunks(protoFromModel(model, options));
}

/** The messages, for encoding only: fields that are not set are missing. */
export function protoFromModel(model: Model, options: EncodeOptions = {}): ModelProto {
  const proto: Message = {
    irVersion: model.irVersion,
    producerName: "ohemgen",
    producerVersion: model.producer.version,
    graph: encodeMainGraph(model.graph, options),
    opsetImport: [...model.opsets].map(([domain, version]) => ({ domain, version })),
    functions: model.functions.map(encodeFunction),
  };
  return proto as unknown as ModelProto;
}

/** Names given so far in one file. */
interface Names {
  readonly values: Map<Value, string>;
  /** Inputs, constants and what the nodes so far make: what a node may read. */
  readonly defined: Set<Value>;
  readonly unique: (hint: string) => string;
  readonly uniqueNode: (hint: string) => string;
  /** Initializers of the main graph in the order of first use; functions have none. */
  readonly initializers: Value[] | undefined;
}

function namesFor(initializers: Value[] | undefined): Names {
  return { values: new Map(), defined: new Set(), unique: uniqueNames(), uniqueNode: uniqueNames(), initializers };
}

/** Gives each hint once, then with `_1`, `_2`, … */
function uniqueNames(): (hint: string) => string {
  const taken = new Set<string>();
  const next = new Map<string, number>();
  return (hint) => {
    let name = hint;
    for (let i = next.get(hint) ?? 1; taken.has(name); i++) {
      name = `${hint}_${i}`;
      next.set(hint, i + 1);
    }
    taken.add(name);
    return name;
  };
}

/** Takes `name` as it is. */
function nameExactly(names: Names, value: Value, name: string): void {
  assert(name !== "" && names.unique(name) === name, `two inputs or outputs are called "${name}"`);
  names.values.set(value, name);
}

function nameOf(value: Value, hint: string, names: Names): string {
  const given = names.values.get(value);
  if (given !== undefined) return given;
  const name = names.unique(value.name === "" ? hint : value.name);
  names.values.set(value, name);
  return name;
}

function encodeMainGraph(graph: Graph, options: EncodeOptions): Message {
  const initializers: Value[] = [];
  const names = namesFor(initializers);
  for (const input of graph.inputs) {
    nameExactly(names, input, input.name);
    names.defined.add(input);
  }
  for (const { name, value } of graph.outputs) {
    if (value.constant !== undefined) bug(`output "${name}" is a constant: an Identity is missing`);
    if (names.values.has(value)) bug(`output "${name}" is also an input or another output: an Identity is missing`);
    nameExactly(names, value, name);
  }
  const node = encodeNodes(graph.nodes, names);
  for (const { name, value } of graph.outputs) assert(names.defined.has(value), `no node makes the output "${name}"`);
  return {
    node,
    name: graph.name === "" ? "ohemgen" : graph.name,
    initializer: initializers.map((value) => {
      const tensor = value.constant ?? bug(`initializer "${value.name}" has no value`);
      return { ...tensorToProto(tensor, options.external?.(tensor)), name: names.values.get(value) };
    }),
    input: graph.inputs.map((value) => valueInfo(value.name, value)),
    output: graph.outputs.map(({ name, value }) => valueInfo(name, value)),
  };
}

/** A subgraph: sees the values around it; its inputs and outputs count by position, so their names are free. */
function encodeSubgraph(graph: Graph, names: Names): Message {
  const input = graph.inputs.map((value) => {
    names.defined.add(value);
    return { name: nameOf(value, "input", names), ...typeOf(value) };
  });
  const node = encodeNodes(graph.nodes, names);
  const made = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  const output = graph.outputs.map(({ name, value }) => {
    // An output has to be made inside, once.
    if (made.delete(value)) return { name: nameOf(value, name, names), ...typeOf(value) };
    const { dtype, shape, opaque = false } = value;
    const copy: Value = { name, dtype, shape, opaque };
    node.push(encodeNode({ op: "Identity", domain: "", name: "", inputs: [value], outputs: [copy], attributes: {} }, names));
    return { name: nameOf(copy, name, names), ...typeOf(value) };
  });
  return { node, name: graph.name === "" ? "subgraph" : graph.name, input, output };
}

function encodeFunction(body: FunctionBody): Message {
  const names = namesFor(undefined);
  for (const input of body.inputs) {
    nameExactly(names, input, input.name);
    names.defined.add(input);
  }
  const node = encodeNodes(body.nodes, names);
  return {
    name: body.name,
    domain: body.domain,
    input: body.inputs.map(({ name }) => name),
    output: body.outputs.map((value) => names.values.get(value) ?? bug(`no node makes "${value.name}" of ${body.name}`)),
    attribute: referencedAttributes(body.nodes).filter((name) => !Object.hasOwn(body.attributeDefaults, name)),
    attributeProto: Object.entries(body.attributeDefaults).map(([name, value]) => encodeAttribute(name, value, names)),
    node,
    opsetImport: [...body.opsets].map(([domain, version]) => ({ domain, version })),
  };
}

function referencedAttributes(nodes: readonly Node[]): readonly string[] {
  const found = new Set<string>();
  for (const { attributes } of nodes) {
    for (const { type, value } of Object.values(attributes)) {
      if (type === "reference") found.add(value);
      else if (type === "graph") for (const name of referencedAttributes(value.nodes)) found.add(name);
    }
  }
  return [...found];
}

function encodeNodes(nodes: readonly Node[], names: Names): Message[] {
  return nodes.map((node) => encodeNode(node, names));
}

function encodeNode(node: Node, names: Names): Message {
  const input = node.inputs.map((value) => (value === undefined ? "" : readName(value, node, names)));
  // Before the outputs are defined: a subgraph cannot read them.
  const attribute = Object.entries(node.attributes).map(([name, value]) => encodeAttribute(name, value, names));
  const output = node.outputs.map((value) => (value === undefined ? "" : writeName(value, node, names)));
  return {
    input: withoutTrailingGaps(input),
    output: withoutTrailingGaps(output),
    name: names.uniqueNode(node.name === "" ? node.op : node.name),
    opType: node.op,
    ...(node.domain === "" ? {} : { domain: node.domain }),
    attribute,
  };
}

function withoutTrailingGaps(list: readonly string[]): readonly string[] {
  return list.slice(0, list.findLastIndex((name) => name !== "") + 1);
}

function readName(value: Value, node: Node, names: Names): string {
  if (!names.defined.has(value)) {
    if (value.constant === undefined) bug(`node "${node.name}" (${node.op}) reads "${value.name}" before it is made`);
    if (names.initializers === undefined) bug(`the constant "${value.name}" inside a function`);
    names.defined.add(value);
    names.initializers.push(value);
  }
  return nameOf(value, "constant", names);
}

function writeName(value: Value, node: Node, names: Names): string {
  if (names.defined.has(value)) bug(`node "${node.name}" (${node.op}) makes "${value.name}" a second time`);
  names.defined.add(value);
  return nameOf(value, node.name === "" ? node.op : node.name, names);
}

function encodeAttribute(name: string, attribute: Attribute, names: Names): Message {
  const { type, value } = attribute;
  switch (type) {
    case "int":
      return { name, i: integerOf(value), type: attributeTypes.int };
    case "float":
      return { name, f: value, type: attributeTypes.float };
    case "string":
      return { name, s: utf8.encode(value), type: attributeTypes.string };
    case "ints":
      return { name, ints: value.map(integerOf), type: attributeTypes.ints };
    case "floats":
      return { name, floats: value, type: attributeTypes.floats };
    case "strings":
      return { name, strings: value.map((item) => utf8.encode(item)), type: attributeTypes.strings };
    case "tensor":
      return { name, t: tensorToProto(value), type: attributeTypes.tensor };
    case "graph":
      return { name, g: encodeSubgraph(value, names), type: attributeTypes.graph };
    case "reference":
      return { name, refAttrName: value };
    case "other":
      return value as Message;
  }
}

const utf8 = new TextEncoder();

function tensorToProto(tensor: Tensor, external?: ExternalPlace): Message {
  const head = { dims: tensor.dims, dataType: dataTypeCode(tensor.dtype) };
  if (tensor.strings !== undefined) return { ...head, stringData: tensor.strings };
  if (external === undefined) return { ...head, rawData: tensor.bytes };
  const entries = Object.entries(external).map(([key, value]) => ({ key, value: String(value) }));
  return { ...head, externalData: entries, dataLocation: 1 };
}

/** With its type, which inputs and outputs of a model must have. */
function valueInfo(name: string, value: Value): Message {
  if (value.dtype === "undefined" || value.opaque) bug(`the type of "${name}" is not known`);
  return { name, ...typeOf(value) };
}

function typeOf(value: Value): Message {
  if (value.dtype === "undefined" || value.opaque) return {};
  const shape = value.shape === undefined ? {} : { shape: { dim: shapeToProto(value.shape) } };
  return { type: { tensorType: { elemType: dataTypeCode(value.dtype), ...shape } } };
}

/** A size that only has a made-up name is written as unknown. */
function shapeToProto(shape: Shape): Message[] {
  return shape.map((dim) => {
    if (typeof dim === "number") return { dimValue: dim };
    return dim.includes("?") ? {} : { dimParam: dim };
  });
}
