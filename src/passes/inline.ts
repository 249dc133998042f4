/** Puts a normalized graph into another graph under construction, with values in place of its inputs. */

import type { Node, Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { isKnownOp } from "../ops/catalog.ts";
import { plainAttributes } from "../ops/define.ts";
import { apart } from "./apart.ts";
import { cloneAttributes, type Substitution } from "./clone.ts";

/**
 * Emits the nodes again, so that types follow from what stands in for the inputs.
 *
 * @param substitutes a value of the new graph for every input the nodes read
 * @returns what every value of the nodes became
 */
export function inline(op: OpBuilder, nodes: readonly Node[], substitutes: ReadonlyMap<Value, Value>): ReadonlyMap<Value, Value> {
  const mapped = new Map(substitutes);
  const get = (value: Value | undefined) => (value === undefined ? undefined : (mapped.get(value) ?? value));
  // Subgraphs read values of the graph around them.
  const around: Substitution = { read: (value) => get(value), write: (value) => value, name: (name) => name };
  for (const node of nodes) {
    const inputs = node.inputs.map(get);
    const [input] = inputs;
    const [output] = node.outputs;
    // Normalization leaves no Identity but those that keep a tensor apart.
    if (node.op === "Identity" && node.domain === "" && input !== undefined && output !== undefined) {
      mapped.set(output, apart(op, input, output.name));
      continue;
    }
    const names = { node: node.name, outputs: node.outputs.map((value) => value?.name ?? "") };
    const known = node.domain === "" && isKnownOp(node.op);
    const results = known
      ? op.emitAll(node.op, inputs, plainAttributes(node.attributes) as Record<string, never>, { outputs: node.outputs.length, names })
      : op.append(node.op, node.domain, inputs, cloneAttributes(node.attributes, around), node.outputs, { names }).outputs;
    node.outputs.forEach((value, i) => {
      const result = results[i];
      if (value !== undefined && result !== undefined) mapped.set(value, result);
    });
  }
  return mapped;
}
