/** Which operators a set of graphs needs, in the form that reduced builds of ONNX Runtime are configured with. */

import type { Graph, Model, Node } from "../ir/graph.ts";
import { bug } from "../support/errors.ts";

export const requiredOperatorsFile = "required_operators.config";

/** Operators of nodes and of the graphs inside them, as they are written. */
function* operatorsOf(nodes: readonly Node[]): Generator<Pick<Node, "op" | "domain">> {
  for (const node of nodes) {
    yield node;
    for (const attribute of Object.values(node.attributes)) {
      if (attribute.type !== "graph") continue;
      const { nodes: inner, outputs } = attribute.value as Graph;
      yield* operatorsOf(inner);
      // What is not made inside, or made once for two outputs, is passed on by an Identity.
      const made = new Set(inner.flatMap((innerNode) => innerNode.outputs));
      if (outputs.some(({ value }) => !made.delete(value))) yield { op: "Identity", domain: "" };
    }
  }
}

/**
 * A line `domain;opset;operators` per domain and opset, sorted; equal graphs give equal text.
 * @param models of our own making, so without functions
 */
export function requiredOperators(models: readonly Model[]): string {
  const lines = new Map<string, Set<string>>();
  for (const { opsets, graph } of models) {
    for (const { domain, op } of operatorsOf(graph.nodes)) {
      const key = `${domain === "" ? "ai.onnx" : domain};${opsets.get(domain) ?? bug(`no opset of "${domain}"`)}`;
      lines.set(key, (lines.get(key) ?? new Set()).add(op));
    }
  }
  return [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, operators]) => `${key};${[...operators].sort().join(",")}\n`)
    .join("");
}
