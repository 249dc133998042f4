/**
 * Where an axis of a node's result comes from: the rule by which the class axis is followed from the logits back to
 * the layers that make it. A node that mixes, splits or scales the classes by numbers of its own has no answer.
 */

import { type Dim, productOfDims, type Shape } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";

export type AxisSource =
  /** The same axis of an operand. */
  | { readonly kind: "axis"; readonly index: number; readonly axis: number }
  /** A layer: that axis of its weight; `fanIn` numbers of the operand go into one number of the result. */
  | { readonly kind: "weight"; readonly index: number; readonly axis: number; readonly fanIn: Dim }
  /** Numbers that are added, one per class. */
  | { readonly kind: "bias"; readonly index: number; readonly axis: number }
  /** An element of a list of sizes. */
  | { readonly kind: "size"; readonly index: number; readonly element: number };

export interface AxisContext {
  readonly shapeOf: (value: Value | undefined) => Shape | undefined;
  /** Whether a value is a tensor of the file, seen through views. */
  readonly isStored: (value: Value | undefined) => boolean;
}

type Rule = (node: Node, axis: number, context: AxisContext) => readonly AxisSource[] | undefined;

function int(node: Node, name: string, otherwise: number): number {
  const attribute = node.attributes[name];
  return attribute?.type === "int" ? attribute.value : otherwise;
}

function ints(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes[name];
  return attribute?.type === "ints" ? attribute.value : undefined;
}

const resolved = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const sameAxis: Rule = (_, axis) => [{ kind: "axis", index: 0, axis }];

/** Batch and channels are kept, whatever happens to the picture. */
const spatial: Rule = (_, axis) => (axis < 2 ? [{ kind: "axis", index: 0, axis }] : undefined);

/** The size along the axis stays what it is. */
const ifUnchanged: Rule = (node, axis, { shapeOf }) => {
  const [from, to] = [shapeOf(node.inputs[0]), shapeOf(node.outputs[0])];
  if (from === undefined || from.length !== to?.length || from[axis] !== to[axis]) return undefined;
  return [{ kind: "axis", index: 0, axis }];
};

/** A layer with the class axis in its weight; groups would tie classes to channels of the input. */
function convolution(weightAxis: 0 | 1): Rule {
  return (node, axis, { shapeOf }) => {
    const weight = shapeOf(node.inputs[1]);
    if (axis !== 1 || weight === undefined || int(node, "group", 1) !== 1) return undefined;
    const fanIn = productOfDims(weight.filter((_, i) => i !== weightAxis));
    const bias: readonly AxisSource[] = node.inputs[2] === undefined ? [] : [{ kind: "bias", index: 2, axis: 0 }];
    return [{ kind: "weight", index: 1, axis: weightAxis, fanIn }, ...bias];
  };
}

/** `operand[…, axis, …] · other`, where the sum runs over the other of its last two axes. */
function factor(node: Node, index: 0 | 1, axis: number, summed: number, { shapeOf, isStored }: AxisContext): AxisSource | undefined {
  const fanIn = shapeOf(node.inputs[index])?.[summed];
  if (fanIn === undefined) return undefined;
  return isStored(node.inputs[index]) ? { kind: "weight", index, axis, fanIn } : { kind: "axis", index, axis };
}

const matMul: Rule = (node, axis, context) => {
  const [a, b, result] = [...node.inputs, node.outputs[0]].map(context.shapeOf);
  if (a === undefined || b === undefined || result === undefined) return undefined;
  const last = result.length - 1;
  let source: AxisSource | undefined;
  if (b.length >= 2 && axis === last) source = factor(node, 1, b.length - 1, b.length - 2, context);
  else if (a.length >= 2 && axis === (b.length >= 2 ? last - 1 : last)) source = factor(node, 0, a.length - 2, a.length - 1, context);
  return source === undefined ? undefined : [source];
};

const gemm: Rule = (node, axis, context) => {
  const at = axis === 1 ? int(node, "transB", 0) : int(node, "transA", 0);
  const own = axis === 1 ? 1 - at : at;
  const source = factor(node, axis === 1 ? 1 : 0, own, 1 - own, context);
  if (source === undefined) return undefined;
  const bias = aligned(node.inputs[2], axis, 2, context);
  return bias === undefined ? [source] : [source, { kind: "bias", index: 2, axis: bias }];
};

/** The axis of a broadcast operand that lies under `axis` of the result; undefined where it has one number for all. */
function aligned(value: Value | undefined, axis: number, rank: number, { shapeOf }: AxisContext): number | undefined {
  const shape = shapeOf(value);
  if (shape === undefined) return undefined;
  const at = axis - (rank - shape.length);
  return at < 0 ? undefined : at;
}

/** Every operand that has the axis; what the file stores per class is a bias where it is added, and in the way elsewhere. */
const elementwise: Rule = (node, axis, context) => {
  const result = context.shapeOf(node.outputs[0]);
  if (result === undefined || node.inputs.some((value) => context.shapeOf(value) === undefined)) return undefined;
  const sources: AxisSource[] = [];
  for (const [index, value] of node.inputs.entries()) {
    const at = aligned(value, axis, result.length, context);
    const size = at === undefined ? undefined : context.shapeOf(value)?.[at];
    if (at === undefined || size !== result[axis]) continue;
    if (!context.isStored(value)) sources.push({ kind: "axis", index, axis: at });
    else if (node.op === "Add" || node.op === "Sum" || (node.op === "Sub" && index === 1)) sources.push({ kind: "bias", index, axis: at });
    else if (size !== 1) return undefined;
  }
  return sources.some(({ kind }) => kind === "axis") ? sources : undefined;
};

/** The axis of the other side that holds the same size after equally many elements. */
const reshaped: Rule = (node, axis, { shapeOf }) => {
  const [from, to] = [shapeOf(node.inputs[0]), shapeOf(node.outputs[0])];
  if (from === undefined || to === undefined) return undefined;
  const before = productOfDims(to.slice(0, axis));
  const at = from.findIndex((size, i) => size === to[axis] && productOfDims(from.slice(0, i)) === before);
  if (at < 0) return undefined;
  return [{ kind: "axis", index: 0, axis: at }, ...(node.op === "Reshape" ? [{ kind: "size", index: 1, element: axis } as const] : [])];
};

const transpose: Rule = (node, axis, { shapeOf }) => {
  const rank = shapeOf(node.inputs[0])?.length;
  const at = ints(node, "perm")?.[axis] ?? (rank === undefined ? undefined : rank - 1 - axis);
  return at === undefined ? undefined : [{ kind: "axis", index: 0, axis: at }];
};

/** Along the axis that is joined or cut, the result has other sizes. */
const across: Rule = (node, axis, { shapeOf }) => {
  const rank = shapeOf(node.inputs[0])?.length;
  if (rank === undefined || resolved(int(node, "axis", 0), rank) === axis) return undefined;
  const count = node.op === "Concat" ? node.inputs.length : 1;
  return Array.from({ length: count }, (_, index) => ({ kind: "axis", index, axis }));
};

const resize: Rule = (node, axis, context) => {
  const source = ifUnchanged(node, axis, context);
  if (source === undefined || node.inputs[3] === undefined) return source;
  const axes = ints(node, "axes")?.map((each) => resolved(each, context.shapeOf(node.outputs[0])?.length ?? 0));
  const element = axes === undefined ? axis : axes.indexOf(axis);
  return element < 0 ? source : [...source, { kind: "size", index: 3, element }];
};

const expand: Rule = (node, axis, context) => {
  const source = ifUnchanged(node, axis, context);
  const [length] = context.shapeOf(node.inputs[1]) ?? [];
  if (source === undefined || typeof length !== "number") return undefined;
  const element = axis - ((context.shapeOf(node.outputs[0])?.length ?? 0) - length);
  return element < 0 ? source : [...source, { kind: "size", index: 1, element }];
};

const each = (ops: string, rule: Rule): Record<string, Rule> => Object.fromEntries(ops.split(" ").map((op) => [op, rule]));

/** What shows a tensor of the file under another layout or type. */
export const views: Readonly<Record<string, Rule>> = {
  ...each("Identity Cast", sameAxis),
  ...each("Reshape Flatten Squeeze Unsqueeze", reshaped),
  Transpose: transpose,
};

const rules: Readonly<Record<string, Rule>> = {
  ...views,
  ...each("Abs CastLike Celu Clip Dropout Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log LogSoftmax Mish Neg Relu Selu Sigmoid", sameAxis),
  ...each("Softmax Softplus Softsign Sqrt Swish Tanh ThresholdedRelu", sameAxis),
  ...each("Add Div Max Mean Min Mul Pow Sub Sum Where", elementwise),
  ...each("AveragePool GlobalAveragePool GlobalMaxPool LpPool MaxPool", spatial),
  ...each("Pad Slice Tile Upsample", ifUnchanged),
  ...each("Concat Split", across),
  Conv: convolution(0),
  ConvTranspose: convolution(1),
  Expand: expand,
  Gemm: gemm,
  MatMul: matMul,
  Resize: resize,
};

/** What `axis` of the node's first output is made of; undefined where the node does not keep it. */
export function axisSources(node: Node, axis: number, context: AxisContext): readonly AxisSource[] | undefined {
  return node.domain === "" ? rules[node.op]?.(node, axis, context) : undefined;
}
