/** Turns a draft into a model: only what the outputs need, in the form every file of ours has. */

import type { GraphOutput, Model, Node, Value } from "../ir/graph.ts";
import { version } from "../support/version.ts";
import type { OpBuilder } from "./builder.ts";

/** All graphs written are of this opset: newer operators have no kernels on some providers. */
export const targetOpset = 18;
export const irVersion = 10;

/** The only operators outside the standard that a graph of ours may hold, in its first and only version. */
export const runtimeDomain = "com.microsoft";

function opsetsOf(nodes: readonly Node[]): ReadonlyMap<string, number> {
  const standard = ["", targetOpset] as const;
  return new Map(nodes.some(({ domain }) => domain === runtimeDomain) ? [standard, [runtimeDomain, 1]] : [standard]);
}

export function finishModel(op: OpBuilder, name: string, inputs: readonly Value[], outputs: readonly GraphOutput[]): Model {
  const taken = new Set<Value>(inputs);
  const named = outputs.map((output) => {
    // An output takes its name from the node that makes it: what is an input, a constant or an output already gets one.
    let { value } = output;
    while (taken.has(value) || value.constant !== undefined) {
      value = op.append("Identity", "", [value], {}, [{ dtype: value.dtype, shape: value.shape }]).outputs[0] as Value;
    }
    taken.add(value);
    return { name: output.name, value };
  });
  const nodes = op.draft.needed(named.map(({ value }) => value));
  return {
    irVersion,
    opsets: opsetsOf(nodes),
    producer: { name: "ohemgen", version },
    functions: [],
    graph: { name, inputs, outputs: named, initializers: [], nodes },
  };
}
