/** `If` with branches that are built like any graph: what they read of the graph around them is captured. */

import type { Graph, Value } from "../ir/graph.ts";
import { neededNodes } from "../ir/needed.ts";
import { bug } from "../support/errors.ts";
import type { OpBuilder } from "./builder.ts";
import type { OutputType } from "./define.ts";

export interface Branch {
  /** Prefix of the names of its nodes. */
  readonly name: string;
  /** The outputs, one for each type; what the graph around made is taken as it is. */
  readonly build: (inner: OpBuilder) => readonly Value[];
}

/**
 * @param condition bool scalar
 * @param types of the outputs of both branches
 */
export function conditional(op: OpBuilder, condition: Value, types: readonly OutputType[], then: Branch, otherwise: Branch): readonly Value[] {
  const attributes = {
    then_branch: { type: "graph", value: graphOf(op, then) },
    else_branch: { type: "graph", value: graphOf(op, otherwise) },
  } as const;
  return op.append("If", "", [condition], attributes, types).outputs.map((value) => value ?? bug("If without an output"));
}

function graphOf(op: OpBuilder, { name, build }: Branch): Graph {
  const inner = op.subgraph(name);
  const values = build(inner).map((value, i) => {
    if (inner.draft.producer(value) !== undefined) return value;
    // An output of a branch is made in it.
    const node = { op: "Identity", domain: "", name: `${name}/Identity`, inputs: [value], attributes: {} };
    return inner.draft.append(node, [value], () => `${name}/output${i}`).outputs[0] ?? bug("Identity without an output");
  });
  const outputs = values.map((value, i) => ({ name: `${name}/result${i}`, value }));
  return { name, inputs: [], outputs, initializers: [], nodes: neededNodes(inner.draft.nodes, values) };
}
