/**
 * Messages → the `Model` of src/ir: names become values with identity, looked up from the innermost graph outwards.
 * In the result every value is defined once, before its readers, and tensors fit their types.
 */

import type { Shape } from "../ir/dims.ts";
import { type DataType, dataTypeName } from "../ir/dtype.ts";
import type { Attributes, FunctionBody, Graph, GraphOutput, Model, Node, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { OhemgenError } from "../support/errors.ts";
import { attributesFromProto } from "./attributes.ts";
import {
  type FunctionProto,
  type GraphProto,
  hasField,
  integerValue,
  type ModelProto,
  type NodeProto,
  type OperatorSetIdProto,
  type ValueInfoProto,
} from "./messages.ts";
import { describeNode, sortNodes } from "./order.ts";
import { densify, type ExternalReader, tensorFromProto } from "./tensors.ts";

export type { ExternalReader } from "./tensors.ts";

export interface DecodeOptions {
  /** Fetches tensor data that is stored beside the model. */
  readonly external?: ExternalReader;
}

/** What decoding of one model shares: the source of fresh dimension names, and external data. */
interface Context {
  unknownDims: number;
  readonly external: ExternalReader | undefined;
}

/** Values visible in a graph: its own, then those of the graphs around it. */
interface Scope {
  readonly values: Map<string, Value>;
  readonly outer: Scope | undefined;
}

interface ValueType {
  readonly dtype: DataType;
  readonly shape: Shape | undefined;
  readonly opaque?: boolean;
}

const unknownType: ValueType = { dtype: "undefined", shape: undefined };

/**
 * The model of a decoded file. Nodes are in file order where that is topological, else moved as little as needed.
 * @throws OhemgenError E102 for a graph that is not well formed, E103/E104 for external data.
 */
export function modelFromProto(proto: ModelProto, options: DecodeOptions = {}): Model {
  const context: Context = { unknownDims: 0, external: options.external };
  return {
    irVersion: integerValue(proto.irVersion),
    opsets: opsetsOf(proto.opsetImport),
    producer: { name: proto.producerName, version: proto.producerVersion },
    graph: decodeGraph(proto.graph, undefined, context),
    functions: proto.functions.map((body) => decodeFunction(body, context)),
  };
}

/** Before IR 3 a file names no operator set: it is version 1 of the standard one. */
function opsetsOf(imports: readonly OperatorSetIdProto[]): ReadonlyMap<string, number> {
  if (imports.length === 0) return new Map([["", 1]]);
  return new Map(imports.map(({ domain = "", version }) => [domainOf(domain), integerValue(version)]));
}

function domainOf(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

function malformed(message: string, where: string): never {
  throw new OhemgenError(message, {
    code: "E102",
    where,
    hint: "The model is not valid ONNX; check it with onnx.checker.",
  });
}

function decodeGraph(proto: GraphProto, outer: Scope | undefined, context: Context): Graph {
  const scope: Scope = { values: new Map(), outer };
  const types = new Map<string, ValueType>();
  for (const info of [...proto.valueInfo, ...proto.output, ...proto.input]) types.set(info.name, valueType(info, context));

  const initializers = proto.initializer.map((tensor) => constant(tensor.name, tensorFromProto(tensor, `initializer "${tensor.name}"`, context.external)));
  for (const sparse of proto.sparseInitializer) {
    const name = hasField(sparse, "values") ? sparse.values.name : "";
    initializers.push(constant(name, densify(sparse, `sparse initializer "${name}"`, context.external)));
  }
  for (const value of initializers) define(scope, value, `initializer "${value.name}"`);

  const constants = new Set(initializers.map(({ name }) => name));
  const inputs = proto.input
    .filter(({ name }) => !constants.has(name))
    .map((info) => {
      const value: Value = { name: info.name, ...(types.get(info.name) ?? unknownType) };
      define(scope, value, `graph input "${info.name}"`);
      return value;
    });

  const nodes = decodeNodes(proto.node, scope, types, context);
  const outputs: GraphOutput[] = proto.output.map(({ name }) => {
    const value = lookUp(scope, name) ?? malformed(`graph output "${name}" is not defined`, `graph output "${name}"`);
    return { name, value };
  });
  return { name: proto.name, inputs, outputs, initializers, nodes };
}

function decodeNodes(protos: readonly NodeProto[], scope: Scope, types: ReadonlyMap<string, ValueType>, context: Context): readonly Node[] {
  return sortNodes(protos).map((proto) => {
    const where = describeNode(proto);
    const inputs = proto.input.map((name) => {
      if (name === "") return undefined;
      return lookUp(scope, name) ?? malformed(`${where} reads "${name}", which is not defined`, where);
    });
    // Attributes first: a subgraph sees the values before its node, not the node's own outputs.
    const attributes: Attributes = attributesFromProto(proto.attribute, where, {
      graph: (graph) => decodeGraph(graph, scope, context),
      external: context.external,
    });
    const outputs = proto.output.map((name) => {
      if (name === "") return undefined;
      const value: Value = { name, ...(types.get(name) ?? unknownType) };
      define(scope, value, where);
      return value;
    });
    const op = proto.overload === "" ? proto.opType : `${proto.opType}:${proto.overload}`;
    return { op, domain: domainOf(proto.domain), name: proto.name, inputs, outputs, attributes };
  });
}

function decodeFunction(proto: FunctionProto, context: Context): FunctionBody {
  const name = proto.overload === "" ? proto.name : `${proto.name}:${proto.overload}`;
  const where = `function "${name}"`;
  const scope: Scope = { values: new Map(), outer: undefined };
  const types = new Map(proto.valueInfo.map((info) => [info.name, valueType(info, context)]));
  const inputs = proto.input.map((input) => {
    const value: Value = { name: input, ...(types.get(input) ?? unknownType) };
    define(scope, value, where);
    return value;
  });
  const nodes = decodeNodes(proto.node, scope, types, context);
  return {
    domain: domainOf(proto.domain),
    name,
    attributeDefaults: attributesFromProto(proto.attributeProto, where, {
      graph: (graph) => decodeGraph(graph, undefined, context),
      external: context.external,
    }),
    opsets: opsetsOf(proto.opsetImport),
    inputs,
    outputs: proto.output.map((output) => lookUp(scope, output) ?? malformed(`output "${output}" of ${where} is not defined`, where)),
    nodes,
  };
}

function constant(name: string, tensor: Tensor): Value {
  return { name, dtype: tensor.dtype, shape: tensor.dims, constant: tensor };
}

function define(scope: Scope, value: Value, where: string): void {
  if (value.name === "") malformed(`${where} has no name`, where);
  if (scope.values.has(value.name)) malformed(`"${value.name}" is defined twice, the second time by ${where}`, where);
  scope.values.set(value.name, value);
}

function lookUp(scope: Scope, name: string): Value | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) {
    const value = at.values.get(name);
    if (value !== undefined) return value;
  }
  return undefined;
}

function valueType(info: ValueInfoProto, context: Context): ValueType {
  const type = hasField(info, "type") ? info.type : undefined;
  if (!type) return unknownType;
  const tensor = type.tensorType;
  if (!tensor) return { ...unknownType, opaque: true };
  const dtype = dataTypeName(tensor.elemType) ?? "undefined";
  if (!tensor.shape) return { dtype, shape: undefined };
  const shape = tensor.shape.dim.map((dim) => {
    if (hasField(dim, "dimValue")) {
      const value = integerValue(dim.dimValue ?? 0);
      if (value >= 0) return value;
    }
    const name = hasField(dim, "dimParam") ? (dim.dimParam ?? "") : "";
    // Exporters write "?" for any unknown size: equal text says nothing there.
    return name === "" || name.startsWith("?") ? `?${++context.unknownDims}` : name;
  });
  return { dtype, shape };
}
