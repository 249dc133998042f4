/**
 * Convolutions that ONNX Runtime's WebGPU provider computes wrongly (found with 1.30), made ones that it computes rightly by
 * channels of zeros. The values of the graph stay what they are.
 */

import type { Model, Node, Value } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { bug } from "../support/errors.ts";

/** `x` with `count` more entries of zero on one axis. */
function extended(op: OpBuilder, x: Value, axis: number, count: number): Value {
  const end = x.shape?.map((_, i) => (i === axis ? count : 0)) ?? bug("a convolution of unknown rank");
  return op.pad(x, [...end.map(() => 0), ...end]);
}

function groupOf({ attributes }: Node): number {
  return Number(attributes["group"]?.value ?? 1);
}

/**
 * Where the provider could read three channels at a time, 6, 9 or 15 of them and outputs in fours, it takes wrong ones. A
 * multiple of four has its fastest kernel.
 * @returns the channels to be added: 0 where the provider is right
 */
function missingChannels(node: Node): number {
  const [outputs, channels] = node.inputs[1]?.shape ?? [];
  if (node.op !== "Conv" || groupOf(node) !== 1 || typeof outputs !== "number" || typeof channels !== "number") return 0;
  const inThrees = channels > 3 && channels % 3 === 0 && channels % 4 !== 0 && outputs % 4 === 0;
  return inThrees ? 4 - (channels % 4) : 0;
}

function withChannels(op: OpBuilder, node: Node, missing: number): Node {
  const [x, w, ...bias] = node.inputs as readonly [Value, Value, ...(Value | undefined)[]];
  return { ...node, inputs: [extended(op, x, 1, missing), extended(op, w, 1, missing), ...bias] };
}

/** Where each group has one output and an even number of inputs, these are read wrongly; with two outputs they are not. */
function hasLoneOutputs(node: Node): boolean {
  const [channels, outputs] = node.inputs[1]?.shape ?? [];
  const group = groupOf(node);
  return node.op === "ConvTranspose" && group > 1 && outputs === 1 && (typeof channels !== "number" || (channels / group) % 2 === 0);
}

/** Every second output is zero, and left out. */
function withSecondOutputs(op: OpBuilder, node: Node): Node {
  const [x, w, bias] = node.inputs as readonly [Value, Value, Value | undefined];
  const group = groupOf(node);
  const offset = bias === undefined ? undefined : op.reshape(extended(op, op.unsqueeze(bias, [1]), 1, 1), [2 * group]);
  const shape = node.outputs[0]?.shape?.map((dim, axis) => (axis === 1 ? 2 * group : dim));
  const inputs = [x, extended(op, w, 1, 1), ...(offset === undefined ? [] : [offset])];
  const wide = op.append("ConvTranspose", "", inputs, node.attributes, [{ dtype: x.dtype, shape }]).outputs[0] as Value;
  const range = [op.ints([0]), op.ints([2 * group]), op.ints([1]), op.ints([2])];
  return { op: "Slice", domain: "", name: `${node.name}/outputs`, inputs: [wide, ...range], outputs: node.outputs, attributes: {} };
}

export function correctConvolutions(model: Model): Model {
  const nodes: Node[] = [];
  const builder = new OpBuilder("webgpu");
  for (const node of model.graph.nodes) {
    const before = builder.draft.nodes.length;
    const op = builder.scope(node.name);
    const missing = missingChannels(node);
    const made = missing > 0 ? withChannels(op, node, missing) : hasLoneOutputs(node) ? withSecondOutputs(op, node) : node;
    nodes.push(...builder.draft.nodes.slice(before), made);
  }
  return { ...model, graph: { ...model.graph, nodes } };
}
