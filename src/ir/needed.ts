/** What a set of values depends on: dead nodes are those that are not in it. */

import type { Graph, Node, Value } from "./graph.ts";

/** Nodes that the targets depend on, in order. */
export function neededNodes(nodes: readonly Node[], targets: Iterable<Value>): readonly Node[] {
  const needed = new Set(targets);
  const result: Node[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i] as Node;
    if (!node.outputs.some((value) => value !== undefined && needed.has(value))) continue;
    result.push(node);
    // No node makes a constant.
    for (const value of node.inputs) if (value !== undefined && value.constant === undefined) needed.add(value);
    for (const value of capturedValues(node)) needed.add(value);
  }
  return result.reverse();
}

const nothing: readonly Value[] = [];

/** Values of the surrounding graph that the subgraphs of a node read. */
export function capturedValues(node: Node): readonly Value[] {
  let nested = false;
  for (const name in node.attributes) nested ||= node.attributes[name]?.type === "graph";
  if (!nested) return nothing;
  const captured: Value[] = [];
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.type !== "graph") continue;
    const inner = attribute.value as Graph;
    const own = new Set<Value>([...inner.inputs, ...inner.initializers]);
    for (const innerNode of inner.nodes) {
      for (const value of [...innerNode.inputs, ...capturedValues(innerNode)]) if (value !== undefined && !own.has(value)) captured.push(value);
      for (const value of innerNode.outputs) if (value !== undefined) own.add(value);
    }
    for (const output of inner.outputs) if (!own.has(output.value)) captured.push(output.value);
  }
  return captured;
}
