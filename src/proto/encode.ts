/**
 * `Model` → messages → bytes, for the models ohemgen makes. Names are given here: inputs and outputs keep theirs
 * exactly, everything else gets a unique one near its hint. Equal models give equal bytes.
 */

import protobuf from "protobufjs/minimal.js";
import { isStatic, type Shape } from "../ir/dims.ts";
import { dataTypeCode } from "../ir/dtype.ts";
import type { Attribute, Attributes, FunctionBody, Graph, Model, Node, Value } from "../ir/graph.ts";
import { capturedValues } from "../ir/needed.ts";
import type { Tensor } from "../ir/tensor.ts";
import { assert, bug } from "../support/errors.ts";
import { joinChunks } from "./codec.ts";
import type { MessageType } from "./message-type.ts";
import { attributeTypes, integerOf } from "./messages.ts";
import { Names } from "./names.ts";
import { NodeWriter } from "./node-writer.ts";
import { graphType, modelType, nodeType } from "./schema.ts";
import { wireTypes } from "./wire.ts";
import { MessageWriter } from "./writer.ts";

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
  return joinChunks(encodeModelChunks(model, options));
}

/**
 * The bytes in pieces, with the model's tensors as views: for files of many megabytes.
 * @param beginning of this model and others, where they share nodes
 */
export function encodeModelChunks(model: Model, options: EncodeOptions = {}, beginning?: Beginning): Uint8Array[] {
  const { irVersion, producer, opsets, functions } = model;
  const graph = encodeMainGraph(model.graph, options, beginning);
  const length = protobuf.Writer.create().uint32(graphTag);
  length.uint32(graph.reduce((sum, chunk) => sum + chunk.length, 0));
  return [
    ...encoded(modelType, { irVersion, producerName: "ohemgen", producerVersion: producer.version }),
    length.finish(),
    ...graph,
    ...encoded(modelType, {
      opsetImport: [...opsets].map(([domain, version]) => ({ domain, version })),
      functions: functions.map(encodeFunction),
    }),
  ];
}

/** Of ModelProto's field `graph`, which comes between the others: fields are in the order of their numbers. */
const graphTag = (7 << 3) | wireTypes.bytes;

function encoded(type: MessageType, message: Message): Uint8Array[] {
  const writer = new MessageWriter();
  type.encode(message, writer);
  return writer.chunks();
}

/** The first nodes of graphs that have them in common, named and encoded once for all. */
export interface Beginning {
  readonly nodes: number;
  readonly chunks: readonly Uint8Array[];
  readonly names: Names;
  readonly initializers: readonly Value[];
  /** Inputs and outputs that all graphs have under the same name. */
  readonly shared: ReadonlySet<Value>;
}

/**
 * What two graphs begin with: the same nodes, as long as they neither read nor make what only one has as an input or output.
 * The name of an input or output of one is given to nothing else in the other.
 */
export function beginningOf({ graph: a }: Model, { graph: b }: Model): Beginning {
  const ends = ({ inputs, outputs }: Graph) => [...inputs.map((value) => ({ name: value.name, value })), ...outputs];
  const namesInB = new Map(ends(b).map(({ name, value }) => [value, name]));
  const shared = new Set(ends(a).flatMap(({ name, value }) => (namesInB.get(value) === name ? [value] : [])));
  const own = new Set([...ends(a), ...ends(b)].flatMap(({ value }) => (shared.has(value) ? [] : [value])));
  const initializers: Value[] = [];
  const names = new Names(initializers);
  for (const value of a.inputs) if (shared.has(value)) names.input(value);
  for (const { name, value } of a.outputs) if (shared.has(value)) names.output(value, name);
  for (const { name } of [...ends(a), ...ends(b)]) names.reserve(name);
  const isOwn = (value: Value | undefined) => value !== undefined && own.has(value);
  const end = a.nodes.findIndex((node, i) => b.nodes[i] !== node || node.inputs.some(isOwn) || node.outputs.some(isOwn) || capturedValues(node).some(isOwn));
  const nodes = end < 0 ? a.nodes.length : end;
  return { nodes, chunks: encodeMainNodes(a.nodes.slice(0, nodes), names), names, initializers, shared };
}

function encodeMainNodes(nodes: readonly Node[], names: Names): Uint8Array[] {
  const writer = new NodeWriter();
  const attributes = new Map<Attributes, Uint8Array | undefined>();
  for (const node of nodes) writeNode(writer, node, names, attributes);
  return writer.chunks();
}

/** GraphProto: the nodes come first, then the little that remains. */
function encodeMainGraph(graph: Graph, options: EncodeOptions, beginning: Beginning | undefined): Uint8Array[] {
  const later: Value[] = [];
  const names = new Names(later, beginning?.names);
  for (const input of graph.inputs) if (!beginning?.shared.has(input)) names.input(input);
  for (const { name, value } of graph.outputs) {
    if (value.constant !== undefined) bug(`output "${name}" is a constant: an Identity is missing`);
    if (!beginning?.shared.has(value)) names.output(value, name);
  }
  const nodes = encodeMainNodes(graph.nodes.slice(beginning?.nodes), names);
  for (const { name, value } of graph.outputs) assert(names.of(value) !== undefined, `no node makes the output "${name}"`);
  const rest = encoded(graphType, {
    name: graph.name === "" ? "ohemgen" : graph.name,
    initializer: [...(beginning?.initializers ?? []), ...later].map((value) => {
      const tensor = value.constant ?? bug(`initializer "${value.name}" has no value`);
      return { ...tensorToProto(tensor, options.external?.(tensor)), name: names.of(value) };
    }),
    input: graph.inputs.map((value) => valueInfo(value.name, value)),
    output: graph.outputs.map(({ name, value }) => valueInfo(name, value)),
    valueInfo: statedSizes(graph, names),
  });
  return [...(beginning?.chunks ?? []), ...nodes, ...rest];
}

/**
 * What a Reshape to computed sizes makes, where they are known: shape inference cannot tell, and the runtime uses memory again
 * only for tensors of known size.
 */
function statedSizes({ nodes, outputs }: Graph, names: Names): Message[] {
  const stated = new Set(outputs.map(({ value }) => value));
  return nodes.flatMap(({ op, domain, inputs, outputs: [made] }) => {
    if (op !== "Reshape" || domain !== "" || made === undefined || !isStatic(made.shape)) return [];
    const name = inputs[1]?.constant === undefined && !stated.has(made) ? names.of(made) : undefined;
    return name === undefined ? [] : [valueInfo(name, made)];
  });
}

/** A node of the main graph, by way of messages only where it has subgraphs or large tensors. */
function writeNode(out: NodeWriter, node: Node, names: Names, cache: Map<Attributes, Uint8Array | undefined>): void {
  let attributes = cache.get(node.attributes);
  if (attributes === undefined) {
    attributes = attributeBytes(node.attributes, names);
    if (attributes === undefined) {
      out.encoded(encoded(nodeType, encodeNode(node, names)));
      return;
    }
    cache.set(node.attributes, attributes);
  }
  out.node({
    inputs: withoutTrailingGaps(node.inputs.map((value) => (value === undefined ? "" : names.read(value, node)))),
    outputs: withoutTrailingGaps(node.outputs.map((value) => (value === undefined ? "" : names.write(value, node)))),
    name: names.uniqueNode(node.name === "" ? node.op : node.name),
    op: node.op,
    domain: node.domain,
    attributes,
  });
}

/** NodeProto's fields of the attributes; `undefined` where they are no small piece on their own. */
function attributeBytes(attributes: Attributes, names: Names): Uint8Array | undefined {
  const entries = Object.entries(attributes);
  if (entries.length === 0) return new Uint8Array(0);
  if (entries.some(([, { type }]) => type === "graph")) return undefined;
  const chunks = encoded(nodeType, { attribute: entries.map(([name, value]) => encodeAttribute(name, value, names)) });
  return chunks.length === 1 ? chunks[0] : undefined;
}

/** A subgraph: sees the values around it; its inputs and outputs count by position, so their names are free. */
function encodeSubgraph(graph: Graph, names: Names): Message {
  const input = graph.inputs.map((value) => {
    return { name: names.define(value, "input"), ...typeOf(value) };
  });
  const node = encodeNodes(graph.nodes, names);
  const made = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  const output = graph.outputs.map(({ name, value }) => {
    // An output has to be made inside, once.
    if (made.delete(value)) return { name: names.of(value), ...typeOf(value) };
    const { dtype, shape, opaque = false } = value;
    const copy: Value = { name, dtype, shape, opaque };
    node.push(encodeNode({ op: "Identity", domain: "", name: "", inputs: [value], outputs: [copy], attributes: {} }, names));
    return { name: names.of(copy), ...typeOf(value) };
  });
  return { node, name: graph.name === "" ? "subgraph" : graph.name, input, output };
}

function encodeFunction(body: FunctionBody): Message {
  const names = new Names(undefined);
  for (const input of body.inputs) names.input(input);
  const node = encodeNodes(body.nodes, names);
  return {
    name: body.name,
    domain: body.domain,
    input: body.inputs.map(({ name }) => name),
    output: body.outputs.map((value) => names.of(value) ?? bug(`no node makes "${value.name}" of ${body.name}`)),
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
  const input = node.inputs.map((value) => (value === undefined ? "" : names.read(value, node)));
  // Before the outputs are defined: a subgraph cannot read them.
  const attribute = Object.entries(node.attributes).map(([name, value]) => encodeAttribute(name, value, names));
  const output = node.outputs.map((value) => (value === undefined ? "" : names.write(value, node)));
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
  return list.at(-1) === "" ? list.slice(0, list.findLastIndex((name) => name !== "") + 1) : list;
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
  const type = { tensorType: { elemType: dataTypeCode(value.dtype), ...shape } };
  return { type: value.sequence === true ? { sequenceType: { elemType: type } } : type };
}

/** A size that only has a made-up name is written as unknown. */
function shapeToProto(shape: Shape): Message[] {
  return shape.map((dim) => {
    if (typeof dim === "number") return { dimValue: dim };
    return dim.includes("?") ? {} : { dimParam: dim };
  });
}
