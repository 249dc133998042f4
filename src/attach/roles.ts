/**
 * What a stored tensor is for, told from how it is read and from its numbers: a parameter, or something that
 * addresses, masks, interpolates or normalizes the picture. Positions say nothing, and names only one thing: that an
 * exporter made up the ones and zeros of a norm.
 */

import { elementCount } from "../ir/dims.ts";
import type { Graph, Node, Value } from "../ir/graph.ts";
import { producersOf, readersOf } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { isCoordinates, isInterpolation, isMask, isUniform } from "./tables.ts";

/** A float tensor the file holds: an initializer, or the output of a Constant node. */
export interface StoredTensor {
  readonly value: Value;
  readonly tensor: Tensor;
}

export interface Role {
  readonly parameter: boolean;
  /** The role of a parameter ("Conv weight"), or why it is none. */
  readonly reason: string;
}

/** Views of a weight: whoever reads them reads the weight. */
const views = new Set(["Identity", "Transpose", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"]);
/** By operator: which inputs are parameters, and what they are called. */
const weighted: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  Conv: { 1: "weight", 2: "bias" },
  ConvTranspose: { 1: "weight", 2: "bias" },
  DeformConv: { 1: "weight", 3: "bias" },
  Gemm: { 0: "weight", 1: "weight", 2: "bias" },
  MatMul: { 0: "weight", 1: "weight" },
  PRelu: { 1: "slope" },
  BatchNormalization: { 1: "scale", 2: "bias" },
  InstanceNormalization: { 1: "scale", 2: "bias" },
  LayerNormalization: { 1: "scale", 2: "bias" },
  GroupNormalization: { 1: "scale", 2: "bias" },
  RMSNormalization: { 1: "scale" },
  LSTM: { 1: "weight", 2: "weight", 3: "bias" },
  GRU: { 1: "weight", 2: "weight", 3: "bias" },
  RNN: { 1: "weight", 2: "weight", 3: "bias" },
};
const affine = new Set(["Mul", "Add", "Sub", "Div"]);
/** A table or token that joins the activations: position embeddings, class tokens. */
const joined = new Set(["Concat", "Expand", "Resize", "Tile"]);
/** Passed on the way from a constant to what it addresses. */
const light = new Set([...views, ...affine, "Concat", "Expand", "Tile", "Slice", "Split", "Neg", "Clip"]);
/** From these inputs on, an operator reads positions, sizes or conditions. */
const addressing: Readonly<Record<string, number>> = {
  GridSample: 1,
  AffineGrid: 0,
  RoiAlign: 1,
  Gather: 1,
  GatherElements: 1,
  GatherND: 1,
  Resize: 1,
  Upsample: 1,
  Shape: 0,
  Size: 0,
  Equal: 0,
  Greater: 0,
  GreaterOrEqual: 0,
  Less: 0,
  LessOrEqual: 0,
};
/** What a picture may pass before the first layer. */
const beforeLayers = new Set([...views, "Slice", "Split", "Pad", "Clip", "Resize"]);

export interface Surroundings {
  readonly readers: ReadonlyMap<Value, readonly { readonly node: Node; readonly index: number }[]>;
  readonly producers: ReadonlyMap<Value, Node>;
  readonly inputs: ReadonlySet<Value>;
  readonly outputs: ReadonlySet<Value>;
  readonly stored: ReadonlySet<Value>;
}

export function surroundingsOf(graph: Graph, stored: readonly StoredTensor[]): Surroundings {
  return {
    readers: readersOf(graph.nodes),
    producers: producersOf(graph.nodes),
    inputs: new Set(graph.inputs),
    outputs: new Set(graph.outputs.map(({ value }) => value)),
    stored: new Set(stored.map(({ value }) => value)),
  };
}

/** The value a chain of views starts from. */
function source(value: Value | undefined, { producers }: Surroundings): Value | undefined {
  let current = value;
  for (;;) {
    const node = current === undefined ? undefined : producers.get(current);
    if (node === undefined || !views.has(node.op)) return current;
    current = node.inputs[0];
  }
}

function isStored(value: Value | undefined, around: Surroundings): boolean {
  const from = source(value, around);
  return from !== undefined && (around.stored.has(from) || from.constant !== undefined);
}

/** Whether a value is the picture, up to arithmetic with constants and a change of layout. */
function isPicture(value: Value | undefined, around: Surroundings): boolean {
  let current = value;
  while (current !== undefined && !around.inputs.has(current)) {
    const node = around.producers.get(current);
    if (node === undefined) return false;
    const other: Value | undefined = affine.has(node.op) ? node.inputs.find((input) => !isStored(input, around)) : undefined;
    const one = affine.has(node.op) && node.inputs.some((input) => isStored(input, around));
    if (one) current = other;
    else if (beforeLayers.has(node.op) || node.op === "Gather") current = node.inputs[0];
    else return false;
  }
  return current !== undefined;
}

/** Whether everything that is made of a value only addresses: ends at grids, positions, sizes, comparisons. */
function onlyAddresses(start: Value, around: Surroundings): boolean {
  const pending = [start];
  const seen = new Set<Value>(pending);
  let ends = 0;
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (around.outputs.has(value)) return false;
    for (const { node, index } of around.readers.get(value) ?? []) {
      const from = addressing[node.op];
      if (from !== undefined && index >= from) {
        ends += 1;
        continue;
      }
      if (!light.has(node.op)) return false;
      for (const output of node.outputs) {
        if (output === undefined || seen.has(output)) continue;
        seen.add(output);
        pending.push(output);
      }
    }
  }
  return ends > 0;
}

const none = (reason: string): Role => ({ parameter: false, reason });

/** Ones or zeros an exporter made up: it has no name of a module, or the norm works on groups by a Reshape. */
function isMadeUp({ value, tensor }: StoredTensor, node: Node, index: number, around: Surroundings): boolean {
  if (node.op !== "InstanceNormalization" || !isUniform(tensor, index === 1 ? 1 : 0)) return false;
  const before = around.producers.get(node.inputs[0] as Value)?.op;
  return before === "Reshape" || around.producers.has(value) || /^(onnx::|\/|\d+$|val_|ortshared)/.test(value.name);
}

/** Why a reader makes the tensor a parameter, or why it does not. */
function roleAt(stored: StoredTensor, node: Node, index: number, around: Surroundings): Role {
  const { tensor } = stored;
  const { dims } = tensor;
  if (isMadeUp(stored, node, index, around)) return none("ones or zeros of a norm without parameters");
  const name = weighted[node.op]?.[index];
  if (name !== undefined) {
    if (node.op !== "MatMul") return { parameter: true, reason: `${node.op} ${name}` };
    if (dims.length < 2) return none("a vector in a product");
    if (isInterpolation(tensor)) return none("an interpolation table");
    return onlyAddresses(node.outputs[0] as Value, around) ? none("addresses a grid") : { parameter: true, reason: "MatMul weight" };
  }
  if (node.op === "Gather" && index === 0) return dims.length < 2 ? none("a list") : { parameter: true, reason: "embedding table" };
  if (affine.has(node.op)) return affineRole(tensor, node, index, around);
  if (joined.has(node.op) && (index === 0 || node.op === "Concat")) return joinedRole(tensor, node, around);
  return none(`read by ${node.op} only`);
}

function affineRole(tensor: Tensor, node: Node, index: number, around: Surroundings): Role {
  const result = node.outputs[0] as Value;
  if (elementCount(tensor.dims) === 1) return none("a scalar");
  if (isPicture(node.inputs[1 - index], around)) return none("normalization of the picture");
  if (isMask(tensor, node.op)) return none("a mask");
  if (isCoordinates(tensor)) return none("a table of coordinates");
  if (onlyAddresses(result, around)) return none("addresses a grid");
  return { parameter: true, reason: node.op === "Mul" || node.op === "Div" ? "scale" : "shift" };
}

function joinedRole(tensor: Tensor, node: Node, around: Surroundings): Role {
  if (elementCount(tensor.dims) <= 1) return none("a scalar");
  if (tensor.dims.length < 2) return none("a list");
  if (isUniform(tensor)) return none("padding");
  if (isCoordinates(tensor)) return none("a table of coordinates");
  if (onlyAddresses(node.outputs[0] as Value, around)) return none("addresses a grid");
  return { parameter: true, reason: "table or token" };
}

/** The first role that makes a parameter, looking through views and arithmetic with other constants; else the last reason against. */
export function roleOf(stored: StoredTensor, around: Surroundings): Role {
  let verdict = none("read by no node");
  const pending: Value[] = [stored.value];
  const seen = new Set<Value>();
  const scalar = elementCount(stored.tensor.dims) === 1;
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    for (const { node, index } of around.readers.get(value) ?? []) {
      const through = (views.has(node.op) && index === 0) || (!scalar && ofConstants(node, index, around));
      if (through) {
        for (const output of node.outputs) if (output !== undefined) pending.push(output);
        continue;
      }
      const role = roleAt(stored, node, index, around);
      if (role.parameter) return role;
      verdict = role;
    }
  }
  return verdict;
}

/** Arithmetic of two stored tensors: the result is as constant as they are. */
function ofConstants(node: Node, index: number, around: Surroundings): boolean {
  return (affine.has(node.op) || node.op === "MatMul") && isStored(node.inputs[1 - index], around);
}
