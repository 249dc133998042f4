/** Topological order of a file's nodes: producers first, file order kept wherever it allows that. Linear time. */

import { OhemgenError } from "../support/errors.ts";
import { type GraphProto, hasField, type NodeProto } from "./messages.ts";

/** How messages name a node: its name, or what it makes. */
export function describeNode(node: NodeProto): string {
  const output = node.output.find((name) => name !== "");
  if (node.name !== "") return `node "${node.name}" (${node.opType})`;
  return output === undefined ? `a node ${node.opType}` : `the ${node.opType} that makes "${output}"`;
}

/**
 * Nodes so that each comes after those it reads from, subgraphs included.
 * @throws OhemgenError E102 for a cycle.
 */
export function sortNodes(nodes: readonly NodeProto[]): readonly NodeProto[] {
  const producer = new Map<string, number>();
  nodes.forEach((node, index) => {
    for (const name of node.output) if (name !== "" && !producer.has(name)) producer.set(name, index);
  });
  const sources = nodes.map((node) => {
    const list: number[] = [];
    for (const name of namesRead(node)) {
      const index = producer.get(name);
      if (index !== undefined) list.push(index);
    }
    return list;
  });
  if (sources.every((list, index) => list.every((source) => source < index))) return nodes;

  // Depth first from each node in file order; `next` is how many of a node's sources were visited already.
  const sorted: NodeProto[] = [];
  const state = new Uint8Array(nodes.length);
  const visiting = 1;
  const done = 2;
  for (let start = 0; start < nodes.length; start++) {
    if (state[start] === done) continue;
    const stack = [{ index: start, next: 0 }];
    state[start] = visiting;
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const source = sources[top.index]?.[top.next++];
      if (source === undefined) {
        sorted.push(nodes[top.index] as NodeProto);
        state[top.index] = done;
        stack.pop();
      } else if (state[source] === visiting) {
        cycle(stack.slice(stack.findIndex(({ index }) => index === source)).map(({ index }) => nodes[index] as NodeProto));
      } else if (state[source] !== done) {
        state[source] = visiting;
        stack.push({ index: source, next: 0 });
      }
    }
  }
  return sorted;
}

function cycle(nodes: readonly NodeProto[]): never {
  const shown = nodes.slice(0, 5).map(describeNode);
  throw new OhemgenError(`the graph has a cycle: ${shown.join(" ← ")}${nodes.length > 5 ? " ← …" : ""}`, {
    code: "E102",
    where: shown[0] ?? "",
    hint: "The model is not valid ONNX; check it with onnx.checker.",
  });
}

/** Names a node needs from its own graph or further out. */
function namesRead(node: NodeProto): Iterable<string> {
  const graphs = node.attribute.filter((attribute) => hasField(attribute, "g")).map(({ g }) => g);
  if (graphs.length === 0) return node.input;
  const names = new Set(node.input);
  for (const graph of graphs) for (const name of freeNames(graph)) names.add(name);
  return names;
}

const known = new WeakMap<GraphProto, ReadonlySet<string>>();

/** Names a subgraph takes from around it. */
function freeNames(graph: GraphProto): ReadonlySet<string> {
  const cached = known.get(graph);
  if (cached !== undefined) return cached;
  const own = new Set<string>();
  for (const { name } of graph.input) own.add(name);
  for (const { name } of graph.initializer) own.add(name);
  for (const sparse of graph.sparseInitializer) if (hasField(sparse, "values")) own.add(sparse.values.name);
  for (const { output } of graph.node) for (const name of output) own.add(name);
  const free = new Set<string>();
  for (const node of graph.node) for (const name of namesRead(node)) if (!own.has(name)) free.add(name);
  for (const { name } of graph.output) if (!own.has(name)) free.add(name);
  known.set(graph, free);
  return free;
}
