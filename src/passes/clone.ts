/** Copies of nodes and graphs with other values in place of theirs: every copy makes values of its own. */

import type { Attribute, Attributes, Graph, Node, Value } from "../ir/graph.ts";

export interface Substitution {
  /** What a value read from outside becomes; `undefined`: an optional input that is left out. */
  readonly read: (value: Value) => Value | undefined;
  /** The copy of a value that is made. */
  readonly write: (value: Value) => Value;
  readonly name: (name: string) => string;
  /** Attributes that references inside a function body stand for. */
  readonly bound?: Attributes;
}

export function cloneNode(node: Node, substitution: Substitution): Node {
  // Attributes first: a subgraph does not see the outputs of its node.
  const attributes = cloneAttributes(node.attributes, substitution);
  const inputs = node.inputs.map((value) => (value === undefined ? undefined : substitution.read(value)));
  const outputs = node.outputs.map((value) => (value === undefined ? undefined : substitution.write(value)));
  return { ...node, name: substitution.name(node.name), inputs, outputs, attributes };
}

/** A reference to an attribute that the caller does not give disappears: the operator takes its default. */
export function cloneAttributes(attributes: Attributes, substitution: Substitution): Attributes {
  const result: Record<string, Attribute> = {};
  for (const [name, attribute] of Object.entries(attributes)) {
    const actual = attribute.type === "reference" && substitution.bound !== undefined ? substitution.bound[attribute.value] : attribute;
    if (actual === undefined) continue;
    result[name] = actual.type === "graph" ? { type: "graph", value: cloneGraph(actual.value, substitution) } : actual;
  }
  return result;
}

export function cloneGraph(graph: Graph, outer: Substitution): Graph {
  const own = new Map<Value, Value>(graph.initializers.map((value) => [value, value]));
  const write = (value: Value): Value => {
    const copy: Value = { ...value };
    own.set(value, copy);
    return copy;
  };
  const read = (value: Value) => own.get(value) ?? outer.read(value);
  const inputs = graph.inputs.map(write);
  const nodes = graph.nodes.map((node) => cloneNode(node, { ...outer, read, write }));
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value: read(value) ?? value }));
  return { ...graph, inputs, nodes, outputs };
}
