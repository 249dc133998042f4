/**
 * Activations made again in the backward pass instead of kept since the forward pass. What is dear to make is kept
 * (convolutions, products, sorts); what follows from kept tensors by cheap nodes is made again, once, when first asked for.
 */

import { elementCount, isStatic } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { delayed } from "../ops/delay.ts";

/** One pass over memory, or little more. Relu is not here: the runtime makes it inside the convolution before it. */
const cheap = new Set(
  [
    "Abs BatchNormalization Celu Clip Concat DepthToSpace Div Elu Erf Exp Expand HardSigmoid HardSwish InstanceNormalization",
    "LayerNormalization LeakyRelu Log Mish Mul Neg Pad Pow PRelu Reciprocal Reshape Resize Selu Sigmoid Slice Softmax Softplus",
    "Softsign SpaceToDepth Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze",
  ].flatMap((line) => line.split(" ")),
);

/** Views cost nothing and hold nothing: making them again saves only if what they show is made again. */
const views = new Set(["Reshape", "Squeeze", "Unsqueeze"]);

/** Elements below which a tensor is kept: a pass over it costs a node. */
const small = 1 << 14;

export interface Recomputation {
  /** The value, or one made again from kept tensors once `zero` is known. */
  readonly recall: (value: Value, zero: () => Value) => Value;
}

function isSmall(value: Value): boolean {
  return value.dtype !== "float32" || (isStatic(value.shape) && elementCount(value.shape) < small);
}

/** Whether a node is made again: it is cheap, and adds no two activations, which would both have to be kept. */
function isMadeAgain(node: Node): boolean {
  if (node.domain !== "") return false;
  if (node.op === "Add") return node.inputs.filter((value) => value !== undefined && !isSmall(value)).length <= 1;
  return cheap.has(node.op);
}

/**
 * @param nodes the tape, in topological order
 */
export function recomputation(op: OpBuilder, nodes: readonly Node[]): Recomputation {
  const producers = new Map<Value, { readonly node: Node; readonly at: number }>();
  nodes.forEach((node, at) => {
    for (const value of node.outputs) if (value !== undefined) producers.set(value, { node, at });
  });
  const again = new Map<Value, Value>();
  const repeated = (value: Value) => {
    const made = producers.get(value);
    return made !== undefined && !isSmall(value) && isMadeAgain(made.node) ? made : undefined;
  };
  /** Nodes to repeat for a value, in order. */
  const chain = (value: Value): readonly Node[] => {
    const found = new Map<Node, number>();
    const open = [value];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const made = again.has(next) ? undefined : repeated(next);
      if (made === undefined || found.has(made.node)) continue;
      found.set(made.node, made.at);
      for (const input of made.node.inputs) if (input !== undefined) open.push(input);
    }
    return [...found].sort(([, a], [, b]) => a - b).map(([node]) => node);
  };
  const repeat = (node: Node, zero: () => Value): void => {
    const inputs = node.inputs.map((value) => value && (again.get(value) ?? value));
    if (inputs.every((value, i) => value === node.inputs[i])) {
      // From kept tensors alone: the smallest one waits, else the runtime would make both at once, or merge them.
      const at = smallestFloat(inputs);
      const waiting = inputs[at];
      if (waiting !== undefined && !views.has(node.op)) inputs[at] = delayed(op, waiting, zero());
      else return;
    }
    const types = node.outputs.map((value) => value && { dtype: value.dtype, shape: value.shape });
    const copy = op.append(node.op, node.domain, inputs, node.attributes, types, { names: { node: `${node.name}/again` } });
    node.outputs.forEach((value, i) => {
      const result = copy.outputs[i];
      if (value !== undefined && result !== undefined) again.set(value, result);
    });
  };
  return {
    recall(value, zero) {
      for (const node of chain(value)) repeat(node, zero);
      return again.get(value) ?? value;
    },
  };
}

function smallestFloat(inputs: readonly (Value | undefined)[]): number {
  const size = (value: Value | undefined) => {
    if (value?.dtype !== "float32" || value.shape === undefined) return Number.POSITIVE_INFINITY;
    return dimsOf(value).reduce<number>((product, dim) => product * (typeof dim === "number" ? dim : 1024), 1);
  };
  const sizes = inputs.map(size);
  return sizes.indexOf(Math.min(...sizes));
}
