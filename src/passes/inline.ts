/** Puts a normalized graph into another graph under construction, with values in place of its inputs. */

import { isStatic } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";
import { capturedValues } from "../ir/needed.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { isKnownOp } from "../ops/catalog.ts";
import { contentOf, plainAttributes } from "../ops/define.ts";
import { apart } from "./apart.ts";
import { cheaperForward } from "./cheaper-forward.ts";
import { cloneAttributes, type Substitution } from "./clone.ts";

export interface InlineOptions {
  /** Values read from outside; with it, nodes may take a cheaper form in which values between them are not made. */
  readonly cheaper?: { readonly ends: Iterable<Value> };
}

/** How many nodes and ends read each value. */
function countReaders(nodes: readonly Node[], ends: Iterable<Value>): ReadonlyMap<Value, number> {
  const readers = new Map<Value, number>();
  const count = (value: Value) => readers.set(value, (readers.get(value) ?? 0) + 1);
  for (const node of nodes) for (const value of node.inputs) if (value !== undefined) count(value);
  for (const node of nodes) for (const value of capturedValues(node)) count(value);
  for (const value of ends) count(value);
  return readers;
}

/**
 * Emits the nodes again, so that types follow from what stands in for the inputs.
 *
 * @param substitutes a value of the new graph for every input the nodes read
 * @returns what every value of the nodes became
 */
export function inline(
  op: OpBuilder,
  nodes: readonly Node[],
  substitutes: ReadonlyMap<Value, Value>,
  { cheaper }: InlineOptions = {},
): ReadonlyMap<Value, Value> {
  const readers = cheaper === undefined ? undefined : countReaders(nodes, cheaper.ends);
  // Two values of the nodes may become one: it is read as often as both.
  const read = new Map<Value, number>();
  const mapped = new Map(substitutes);
  const get = (value: Value | undefined) => (value === undefined ? undefined : (mapped.get(value) ?? value));
  // Subgraphs read values of the graph around them.
  const around: Substitution = { read: (value) => get(value), write: (value) => value, name: (name) => name };
  const become = (value: Value, result: Value) => {
    mapped.set(value, result);
    read.set(result, (read.get(result) ?? 0) + (readers?.get(value) ?? 0));
  };
  for (const node of nodes) {
    const inputs = node.inputs.map(get);
    const [input] = inputs;
    const [output] = node.outputs;
    // Normalization leaves no Identity but those that keep a tensor apart.
    if (node.op === "Identity" && node.domain === "" && input !== undefined && output !== undefined) {
      become(output, apart(op, input, output.name));
      continue;
    }
    if (readers !== undefined && output !== undefined && node.outputs.length === 1) {
      const value = cheaperForward(op, node, inputs, (made) => read.get(made) ?? 0);
      if (value !== undefined) {
        become(output, value);
        continue;
      }
    }
    const names = { node: node.name, outputs: node.outputs.map((value) => value?.name ?? "") };
    const known = node.domain === "" && isKnownOp(node.op);
    const results =
      known && !statesMore(node, inputs)
        ? op.emitAll(node.op, inputs, plainAttributes(node.attributes) as Record<string, never>, { outputs: node.outputs.length, names })
        : op.append(node.op, node.domain, inputs, cloneAttributes(node.attributes, around), node.outputs, { names }).outputs;
    node.outputs.forEach((value, i) => {
      const result = results[i];
      if (value !== undefined && result !== undefined) become(value, result);
    });
  }
  return mapped;
}

/** Whether the sizes are stated that no inference tells: of a Reshape to sizes that only the run knows. */
function statesMore({ op, domain, outputs }: Node, [, sizes]: readonly (Value | undefined)[]): boolean {
  return op === "Reshape" && domain === "" && sizes !== undefined && contentOf(sizes) === undefined && isStatic(outputs[0]?.shape);
}
