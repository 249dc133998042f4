/**
 * Which nodes read a tensor of the file, each once, told through Identity: an exporter that merged tensors of equal
 * value left one behind in their place. Readers of the shape alone do not count.
 */

import { type Graph, type Node, readersOf, type Value } from "../ir/graph.ts";
import { capturedValues } from "../ir/needed.ts";

/** An input of a node. */
export interface Port {
  readonly node: Node;
  readonly index: number;
}

export interface Reading {
  readonly node: Node;
  /** What the node is called, or what the tensor was before it was merged with others of equal value. */
  readonly label: string;
  /** Inputs that this node alone depends on, as near to the tensor as they can be. */
  readonly ports: readonly Port[];
}

export interface Sharing {
  /** In file order. */
  readonly readings: readonly Reading[];
  /** The tensor is an output of the graph too, or subgraphs read it. */
  readonly held: boolean;
}

/** Readers that follow whatever shape a tensor gets. */
export function isNeutral({ node, index }: Port): boolean {
  return node.domain === "" && (node.op === "Shape" || node.op === "Size" || (node.op === "CastLike" && index === 1));
}

/** Values that more than nodes of the main graph depend on. */
export function outerValues(graph: Graph): ReadonlySet<Value> {
  return new Set([...graph.outputs.map(({ value }) => value), ...graph.nodes.flatMap(capturedValues)]);
}

const nodeLabel = ({ name, outputs }: Node): string => (name === "" ? (outputs.find((value) => value !== undefined)?.name ?? "") : name);

/** Asked for any tensor of the graph. */
export function sharingIn(graph: Graph): (value: Value) => Sharing {
  const readers = readersOf(graph.nodes);
  const outer = outerValues(graph);
  const position = new Map(graph.nodes.map((node, i) => [node, i]));
  const readings = (value: Value): readonly Reading[] => {
    const found = new Map<Node, { label: string; ports: Port[] }>();
    const add = ({ node, label, ports }: Reading) => {
      const known = found.get(node);
      if (known === undefined) found.set(node, { label, ports: [...ports] });
      else known.ports.push(...ports);
    };
    for (const port of readers.get(value) ?? []) {
      const { node } = port;
      const [copy] = node.outputs;
      if (node.op === "Identity" && node.domain === "" && copy !== undefined) {
        const inner = readings(copy);
        const [only] = inner;
        const whole = only !== undefined && inner.length === 1 && !outer.has(copy);
        for (const reading of whole ? [{ ...only, label: copy.name, ports: [port] }] : inner) add(reading);
      } else if (!isNeutral(port)) add({ node, label: nodeLabel(node), ports: [port] });
    }
    return [...found].map(([node, rest]) => ({ node, ...rest })).sort((a, b) => (position.get(a.node) ?? 0) - (position.get(b.node) ?? 0));
  };
  return (value) => ({ readings: readings(value), held: outer.has(value) });
}

/** How many parameters a tensor would be if every reader had its own. */
export function shareCount({ readings, held }: Sharing): number {
  return readings.length + (held ? 1 : 0);
}
