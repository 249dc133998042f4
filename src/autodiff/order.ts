/**
 * The order of the backward pass, made of data dependency, the only order the runtime keeps: each layer's activations, and
 * its dy, are free before the next needs its own.
 */

import { elementCount, isStatic } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { delayed } from "../ops/delay.ts";

export interface Order {
  /** A zero made from these gradients. */
  readonly after: (...gradients: readonly Value[]) => Value;
  /** A zero made from the gradients that arrived or were finished since a node last waited, else from what that waited for. */
  readonly zero: () => Value;
  /** The value, which waits for what `zero` waits for. */
  readonly later: (value: Value) => Value;
  /** Says that what arrives at the outputs of a node is what its rule works on now. */
  readonly arrive: (dys: readonly (Value | undefined)[]) => void;
  /** Says that the gradient of a wanted tensor is done, at a node that reads it. */
  readonly finish: (gradient: Value, node: Node) => void;
}

/** Elements below which a tensor may be kept: to wait for its gradient costs more nodes than it holds. */
const small = 1 << 14;

const isSmall = ({ shape }: Value) => isStatic(shape) && elementCount(shape) < small;

/**
 * @param nodes the tape, in topological order
 * @param before float32 values that the first zero waits for
 */
export function ordering(op: OpBuilder, nodes: readonly Node[], wanted: readonly Value[], before: readonly Value[] = []): Order {
  const zeroAfter = zeros(op);
  const ofWeights = madeOfWeights(nodes, wanted);
  let [finished, awaited]: [Value[], readonly Value[]] = [[...before], []];
  const zero = () => {
    if (finished.length > 0) [finished, awaited] = [[], finished];
    return zeroAfter(awaited);
  };
  return {
    after(...gradients) {
      finished.push(...gradients);
      return zeroAfter(gradients);
    },
    zero,
    later: (value) => delayed(op, value, zero()),
    arrive(dys) {
      for (const dy of dys) if (dy !== undefined && !isSmall(dy)) finished.push(dy);
    },
    finish(gradient, node) {
      // Nodes on weights alone hold no activation.
      if (!(isSmall(gradient) && ofWeights.has(node))) finished.push(gradient);
    },
  };
}

/** Nodes that read nothing but wanted tensors, constants and what such nodes make of them. */
function madeOfWeights(nodes: readonly Node[], wanted: readonly Value[]): ReadonlySet<Node> {
  const weights = new Set(wanted);
  const found = new Set<Node>();
  for (const node of nodes) {
    if (!node.inputs.every((value) => value === undefined || value.constant !== undefined || weights.has(value))) continue;
    found.add(node);
    for (const value of node.outputs) if (value !== undefined) weights.add(value);
  }
  return found;
}

/**
 * Zeros that depend on gradients: one element of each, added up and clipped to [0, 0], which no optimizer folds. A gradient
 * that a zero waits for already is waited for by that zero.
 */
function zeros(op: OpBuilder): (gradients: readonly Value[]) => Value {
  const known = new Map<Value, Value>();
  const nothing = op.scalar("float32", 0);
  return (gradients) => {
    const waited = gradients.filter(({ dtype }) => dtype === "float32");
    const fresh = waited.filter((gradient) => !known.has(gradient));
    if (fresh.length > 0) {
      const first = op.scalar("int64", 0);
      const elements = [...new Set(fresh)].map((gradient) => op.gather(op.reshape(gradient, [-1]), first, 0));
      const zero = op.emit("Clip", [op.sum(elements), nothing, nothing]);
      for (const gradient of fresh) known.set(gradient, zero);
    }
    const distinct = [...new Set(waited.map((gradient) => known.get(gradient) as Value))];
    return distinct.length === 0 ? nothing : op.sum(distinct);
  };
}
