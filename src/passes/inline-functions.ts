/** Model-local functions put in place of the nodes that call them, in subgraphs and inside each other too. */

import type { Attribute, Attributes, FunctionBody, Graph, Model, Node, Value } from "../ir/graph.ts";
import { OhemgenError } from "../support/errors.ts";
import { cloneNode } from "./clone.ts";

export interface Inlined {
  /** Without functions; values of the main graph are those of the file. */
  readonly model: Model;
  /** Opset of nodes that come from a function written for another opset than the model's. */
  readonly versions: ReadonlyMap<Node, number>;
  /** Constants of function bodies: `export` writes into the main graph only, and one body may serve several calls. */
  readonly embedded: ReadonlySet<Value>;
}

const keyOf = (domain: string, name: string) => `${domain}::${name}`;

interface Context {
  readonly functions: ReadonlyMap<string, FunctionBody>;
  readonly versions: Map<Node, number>;
  readonly embedded: Set<Value>;
  /** Calls around the one at hand. */
  readonly stack: readonly string[];
}

/** @throws OhemgenError E102 for functions that call themselves */
export function inlineFunctions(model: Model): Inlined {
  const versions = new Map<Node, number>();
  const embedded = new Set<Value>();
  if (model.functions.length === 0) return { model, versions, embedded };
  const functions = new Map(model.functions.map((body) => [keyOf(body.domain, body.name), body]));
  const graph = expandGraph(model.graph, { functions, versions, embedded, stack: [] });
  return { model: { ...model, graph, functions: [] }, versions, embedded };
}

function expandGraph(graph: Graph, context: Context): Graph {
  return { ...graph, nodes: graph.nodes.flatMap((node) => expandNode(node, context)) };
}

function expandNode(node: Node, context: Context): readonly Node[] {
  const key = keyOf(node.domain, node.op);
  const body = context.functions.get(key);
  if (body !== undefined) {
    if (context.stack.includes(key)) {
      throw new OhemgenError(`the function ${node.op} calls itself`, {
        code: "E102",
        where: `node ${node.name}`,
        hint: "The model is not valid ONNX; check it with onnx.checker.",
      });
    }
    return bodyOf(node, body, context).flatMap((inner) => expandNode(inner, { ...context, stack: [...context.stack, key] }));
  }
  if (!Object.values(node.attributes).some(({ type }) => type === "graph")) return [node];
  const expanded: Node = { ...node, attributes: expandAttributes(node.attributes, context) };
  const version = context.versions.get(node);
  if (version !== undefined) context.versions.set(expanded, version);
  return [expanded];
}

function expandAttributes(attributes: Attributes, context: Context): Attributes {
  const expand = (attribute: Attribute): Attribute =>
    attribute.type === "graph" ? { type: "graph", value: expandGraph(attribute.value, context) } : attribute;
  return Object.fromEntries(Object.entries(attributes).map(([name, attribute]) => [name, expand(attribute)]));
}

/** The nodes of the body, reading the inputs of the call and making its outputs. */
function bodyOf(call: Node, body: FunctionBody, { versions, embedded }: Context): readonly Node[] {
  const values = new Map<Value, Value | undefined>(body.inputs.map((value, i) => [value, call.inputs[i]]));
  const results = new Map<Value, Value>();
  const passed: Node[] = [];
  body.outputs.forEach((value, i) => {
    const output = call.outputs[i];
    if (output === undefined) return;
    if (!values.has(value) && !results.has(value)) results.set(value, output);
    else passed.push({ op: "Identity", domain: "", name: `${call.name}/${output.name}`, inputs: [value], outputs: [output], attributes: {} });
  });
  const inside = (name: string) => (call.name === "" ? name : `${call.name}/${name}`);
  const read = (value: Value): Value | undefined => (values.has(value) ? values.get(value) : value);
  const write = (value: Value): Value => {
    const copy = results.get(value) ?? { ...value, name: inside(value.name) };
    values.set(value, copy);
    return copy;
  };
  const bound = { ...body.attributeDefaults, ...call.attributes };
  const version = body.opsets.get("");
  const copies = body.nodes.map((node) => cloneNode(node, { read, write, name: inside, bound }));
  for (const { op, outputs } of copies) if (op === "Constant" && outputs[0] !== undefined) embedded.add(outputs[0]);
  const ends = passed.map((node) => ({ ...node, inputs: [read(node.inputs[0] as Value)] }));
  const all = [...copies, ...ends];
  if (version !== undefined) for (const node of all) versions.set(node, version);
  return all;
}
