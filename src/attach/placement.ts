/**
 * Where a provider would run the nodes of a graph: those it has no kernel for go to the CPU, silently and with copies
 * around them. Shape arithmetic belongs there; anything else as large as a picture costs more than it seems.
 */

import { type Dim, elementCount, isStatic } from "../ir/dims.ts";
import type { Graph, Model, Node, Value } from "../ir/graph.ts";
import { targetOpset } from "../ops/finish.ts";
import { type KernelProvider, kernelTables, withoutKernel } from "./kernels.ts";

export interface PlacedNode {
  readonly op: string;
  /** Version of the operator the provider's kernel is for, or `null`: it has none. */
  readonly kernelSince: number | null;
  readonly types: readonly string[];
  readonly node: string;
  readonly reason: string;
}

export interface Placement {
  readonly opset: number;
  readonly nodes: number;
  /** Not run by the provider, and not small. */
  readonly outside: readonly PlacedNode[];
  /** Not run by the provider, but of few numbers: counters and the confusion matrix. */
  readonly small: readonly PlacedNode[];
  /** Arithmetic with sizes only, which the runtime keeps on the CPU in any case. */
  readonly shapes: readonly PlacedNode[];
}

/** A copy of this many numbers goes unnoticed beside a step. */
const fewNumbers = 1 << 15;

/** The nodes of a graph and of the branches inside. */
function allNodes(nodes: readonly Node[]): readonly Node[] {
  const inside = (node: Node) => Object.values(node.attributes).flatMap(({ type, value }) => (type === "graph" ? [value as Graph] : []));
  return nodes.flatMap((node) => [node, ...inside(node).flatMap((graph) => allNodes(graph.nodes))]);
}

/** Tensors that depend on sizes only. */
function sizesOf(nodes: readonly Node[]): ReadonlySet<Value> {
  const sizes = new Set<Value>();
  for (const node of nodes) {
    const own = node.op === "Shape" || node.op === "Size";
    const read = node.inputs.filter((value) => value !== undefined);
    const carries = read.some((value) => sizes.has(value)) && read.every((value) => sizes.has(value) || value.constant !== undefined);
    if (own || carries) for (const value of node.outputs) if (value !== undefined) sizes.add(value);
  }
  return sizes;
}

/** Static, or a number for each picture. */
function isSmall(node: Node, pictures: Dim | undefined): boolean {
  const values = [...node.inputs, ...node.outputs].filter((value) => value !== undefined);
  return values.every(({ shape }) => {
    const each = shape?.filter((dim, axis) => axis > 0 || dim !== pictures);
    return isStatic(each) && elementCount(each) <= fewNumbers;
  });
}

export function placementOf({ graph, opsets }: Model, provider: KernelProvider): Placement {
  const nodes = allNodes(graph.nodes);
  const sizes = sizesOf(nodes);
  const pictures = graph.inputs.find(({ name }) => name === "labels")?.shape?.[0];
  const outside: PlacedNode[] = [];
  const small: PlacedNode[] = [];
  const shapes: PlacedNode[] = [];
  for (const node of nodes) {
    const reason = withoutKernel(provider, node);
    if (reason === undefined) continue;
    const types = node.inputs.map((value) => value?.dtype ?? "");
    const placed = { op: node.op, kernelSince: kernelTables[provider][node.op]?.[0] ?? null, types, node: node.name, reason };
    const ofSizes = node.outputs.every((value) => value === undefined || sizes.has(value));
    (ofSizes ? shapes : isSmall(node, pictures) ? small : outside).push(placed);
  }
  return { opset: opsets.get("") ?? targetOpset, nodes: nodes.length, outside, small, shapes };
}
