/** Operators as models of one node, with the element types to be chosen: what a provider really takes can be asked. */

import type { DataType } from "../../src/ir/dtype.ts";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { constant, graphOf, modelOf, node, value } from "../passes/compare.ts";

/**
 * Inputs by operator: `T`, `I`, `M` are types to be chosen, other words types; `:2x3` is a shape ([2,3,4,4] without
 * one), `=1,2` a constant vector.
 */
const templates: Readonly<Record<string, readonly [inputs: string, attrs?: Readonly<Record<string, unknown>>, outputs?: string]>> = {
  ...each(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Elu Erf Exp Flatten Floor HardSigmoid Identity LeakyRelu Log LogSoftmax Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Transpose GlobalAveragePool GlobalMaxPool LpNormalization",
    "T",
  ),
  ...each("Add Div MatMul Max Min Mul PRelu Pow Sub Sum", "T T"),
  ...each("And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor", "T T", "bool"),
  ...each("IsInf IsNaN Not", "T", "bool"),
  ...each("NonZero Shape Size", "T", "int64"),
  ...each("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare", "T int64=1"),
  ArgMax: ["T", { axis: 1 }, "int64"],
  ArgMin: ["T", { axis: 1 }, "int64"],
  AveragePool: ["T", { kernel_shape: [2, 2] }],
  BatchNormalization: ["T T:3 T:3 T:3 T:3"],
  Clip: ["T T: T:"],
  Concat: ["T T", { axis: 1 }],
  Conv: ["T T:2x3x2x2"],
  ConvTranspose: ["T T:3x2x2x2"],
  CumSum: ["T I="],
  DepthToSpace: ["T:2x4x4x4", { blocksize: 2 }],
  Dropout: ["T"],
  Einsum: ["T T", { equation: "abcd,abcd->ab" }],
  Expand: ["T int64=2,3,4,4"],
  Gather: ["T I:2", { axis: 1 }],
  GatherElements: ["T I", { axis: 1 }],
  GatherND: ["T int64:2x1"],
  Gemm: ["T:3x4 T:4x5 T:5"],
  GridSample: ["T T:2x5x5x2"],
  InstanceNormalization: ["T T:3 T:3"],
  LayerNormalization: ["T T:4 T:4"],
  MaxPool: ["T", { kernel_shape: [2, 2] }],
  Mod: ["T T", { fmod: 1 }],
  OneHot: ["I:4 int64= T:2"],
  Pad: ["T int64=0,0,0,1,0,0,0,1"],
  Range: ["T: T: T:"],
  Reshape: ["T int64=2,-1"],
  Resize: ["T - - int64=2,3,8,8", { mode: "linear" }],
  ScatterElements: ["T I T", { axis: 1 }],
  ScatterND: ["T int64:2x1 T:2x3x4x4"],
  Slice: ["T I=0 I=1 I=2"],
  SpaceToDepth: ["T", { blocksize: 2 }],
  Split: ["T:4x4 int64=1,3", { axis: 1 }, "T T"],
  Squeeze: ["T:2x1x4 int64=1"],
  Tile: ["T int64=1,1,2,1"],
  TopK: ["T int64=2", { axis: 1 }, "T int64"],
  Trilu: ["T"],
  Unsqueeze: ["T int64=1"],
  Where: ["bool T T"],
};

function each(names: string, inputs: string, outputs = "T"): Record<string, readonly [string, object, string]> {
  return Object.fromEntries(names.split(" ").map((name) => [name, [inputs, {}, outputs]]));
}

export const probedOperators = Object.keys(templates).sort();

/** The letters of an operator's inputs that stand for a type. */
export function typeVariables(op: string): readonly string[] {
  return [...new Set((templates[op] as readonly [string])[0].match(/\b[TI](?=[\s:=]|$)/g) ?? [])];
}

function input(token: string, types: Readonly<Record<string, DataType>>, i: number): Value | undefined {
  if (token === "-") return undefined;
  const [, word = "", mark = "", rest = ""] = /^(\w+)([:=]?)(.*)$/.exec(token) ?? [];
  const dtype = types[word] ?? (word as DataType);
  const numbers = (separator: string) => (rest === "" ? [] : rest.split(separator).map(Number));
  if (mark === "=") return constant(`i${i}`, dtype, rest === "" ? [] : [numbers(",").length], rest === "" ? [1] : numbers(","));
  return value(`i${i}`, dtype, mark === ":" ? numbers("x") : [2, 3, 4, 4]);
}

/** The operator alone in a model; `types` for `T` (float32) and `I` (int64). */
export function oneNode(op: string, types: Readonly<Record<string, DataType>> = {}): { node: Node; model: Model } {
  const [inputs, attrs = {}, outputs = "T"] = templates[op] as (typeof templates)[string];
  const chosen = { T: "float32", I: "int64", ...types } as const;
  const values = inputs.split(" ").map((token, i) => input(token, chosen, i));
  const results = outputs.split(" ").map((token, i) => value(`o${i}`, token === "T" ? chosen.T : (token as DataType)));
  const single = node(op, values, results, { attrs });
  const given = values.filter((each) => each !== undefined && each.constant === undefined) as Value[];
  return { node: single, model: modelOf(graphOf(given, [single], results)) };
}
