/** Evaluates operators on small constant tensors; anything not listed here is left to the runtime. */

import { elementCount, isStatic, type Shape } from "../ir/dims.ts";
import { type DataType, isFloat } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import { reshapeTensor, roundHalfEven, type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import { reductionAxes } from "./catalog/reduction.ts";
import { sliceRange } from "./catalog/selection.ts";
import type { OutputType } from "./define.ts";

/** Larger results stay nodes: the file would grow, and the runtime folds them when the session starts. */
const largestFold = 1 << 14;
/** Scales of a Resize up to three dimensions are folded, a vector of channels is not. */
const largestFloatFold = 5;

type Evaluate = (x: readonly Tensor[], attrs: Readonly<Record<string, unknown>>, type: OutputType, op: string) => ArrayLike<number> | undefined;

function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let stride = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= dims[i] as number;
  }
  return strides;
}

/** Flat source positions of a tensor read at `dims` with the given strides (0 repeats an axis). */
function positions(dims: readonly number[], strides: readonly number[], offset = 0): Int32Array {
  const result = new Int32Array(elementCount(dims));
  const index = new Array<number>(dims.length).fill(0);
  let at = offset;
  for (let n = 0; n < result.length; n++) {
    result[n] = at;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      at += strides[axis] as number;
      if ((index[axis] as number) < (dims[axis] as number)) break;
      at -= (strides[axis] as number) * (dims[axis] as number);
      index[axis] = 0;
    }
  }
  return result;
}

/** A tensor's numbers as they repeat over the broadcast shape. */
function broadcastTo(tensor: Tensor, dims: readonly number[]): ArrayLike<number> {
  const values = tensorNumbers(tensor);
  const own = stridesOf(tensor.dims);
  const missing = dims.length - tensor.dims.length;
  const strides = dims.map((_, i) => (i < missing || tensor.dims[i - missing] === 1 ? 0 : (own[i - missing] as number)));
  return Float64Array.from(positions(dims, strides), (at) => values[at] as number);
}

const unaryRules: Readonly<Record<string, (value: number) => number>> = {
  Abs: Math.abs,
  Ceil: Math.ceil,
  Exp: Math.exp,
  Floor: Math.floor,
  Log: Math.log,
  Neg: (value) => -value,
  Not: (value) => (value ? 0 : 1),
  Reciprocal: (value) => 1 / value,
  Round: roundHalfEven,
  Sigmoid: (value) => 1 / (1 + Math.exp(-value)),
  Sign: Math.sign,
  Sqrt: Math.sqrt,
  Tanh: Math.tanh,
};

const binaryRules: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Pow: (a, b) => a ** b,
  Max: Math.max,
  Min: Math.min,
  And: (a, b) => (a && b ? 1 : 0),
  Or: (a, b) => (a || b ? 1 : 0),
  Equal: (a, b) => (a === b ? 1 : 0),
  Greater: (a, b) => (a > b ? 1 : 0),
  GreaterOrEqual: (a, b) => (a >= b ? 1 : 0),
  Less: (a, b) => (a < b ? 1 : 0),
  LessOrEqual: (a, b) => (a <= b ? 1 : 0),
};

const reduceRules: Readonly<Record<string, { start: number; step: (a: number, b: number) => number }>> = {
  ReduceProd: { start: 1, step: (a, b) => a * b },
  ReduceSum: { start: 0, step: (a, b) => a + b },
  ReduceMax: { start: Number.NEGATIVE_INFINITY, step: Math.max },
  ReduceMin: { start: Number.POSITIVE_INFINITY, step: Math.min },
};

const unary: Evaluate = (x, _attrs, _type, op) => Float64Array.from(tensorNumbers(x[0] as Tensor), unaryRules[op] as (v: number) => number);

const binary: Evaluate = (x, _attrs, type, op) => {
  const dims = type.shape as readonly number[];
  const rule = binaryRules[op] as (a: number, b: number) => number;
  return x.map((tensor) => broadcastTo(tensor, dims)).reduce((a, b) => Float64Array.from(a, (value, i) => rule(value, b[i] as number)));
};

/** Integer division truncates towards zero, as in C. */
const divide: Evaluate = (x, _attrs, type) => {
  const dims = type.shape as readonly number[];
  const [a, b] = x.map((tensor) => broadcastTo(tensor, dims)) as [ArrayLike<number>, ArrayLike<number>];
  if (!isFloat(type.dtype) && Array.from(b).includes(0)) return undefined;
  return Float64Array.from(a, (value, i) => (isFloat(type.dtype) ? value / (b[i] as number) : Math.trunc(value / (b[i] as number))));
};

const reduce: Evaluate = (x, attrs, type, op) => {
  const [data, axesTensor] = x as [Tensor, Tensor | undefined];
  if (axesTensor && axesTensor.dims[0] === 0 && attrs["noop_with_empty_axes"]) return tensorNumbers(data);
  const axesValue = axesTensor && ({ constant: axesTensor } as Value);
  const axes = new Set(reductionAxes({ op, x: [undefined, axesValue] }, data.dims.length));
  const { start, step } = reduceRules[op] as (typeof reduceRules)[string];
  const result = new Float64Array(elementCount(type.shape as readonly number[])).fill(start);
  const kept = stridesOf(data.dims.map((dim, i) => (axes.has(i) ? 1 : dim))).map((stride, i) => (axes.has(i) ? 0 : stride));
  const values = tensorNumbers(data);
  positions(data.dims, kept).forEach((at, i) => {
    result[at] = step(result[at] as number, values[i] as number);
  });
  return result;
};

const transpose: Evaluate = ([x], attrs, type) => {
  const { dims } = x as Tensor;
  const perm = (attrs["perm"] as readonly number[] | undefined) ?? dims.map((_, i) => dims.length - 1 - i);
  const strides = stridesOf(dims);
  const values = tensorNumbers(x as Tensor);
  const at = positions(
    type.shape as readonly number[],
    perm.map((axis) => strides[axis] as number),
  );
  return Float64Array.from(at, (i) => values[i] as number);
};

const slice: Evaluate = (x, _attrs, type) => {
  const data = x[0] as Tensor;
  const [starts, , axes, steps] = [x[1], x[2], x[3], x[4]].map((tensor) => tensor && Array.from(tensorNumbers(tensor)));
  const ends = Array.from(tensorNumbers(x[2] as Tensor));
  const strides = stridesOf(data.dims);
  let offset = 0;
  starts?.forEach((start, i) => {
    const given = axes?.[i] ?? i;
    const axis = given < 0 ? given + data.dims.length : given;
    const step = steps?.[i] ?? 1;
    const range = sliceRange(data.dims[axis] as number, start, ends[i] as number, step);
    offset += range.start * (strides[axis] as number);
    strides[axis] = (strides[axis] as number) * step;
  });
  const values = tensorNumbers(data);
  return Float64Array.from(positions(type.shape as readonly number[], strides, offset), (i) => values[i] as number);
};

const gather: Evaluate = ([data, indices], attrs, type) => {
  const { dims } = data as Tensor;
  const axis = ((attrs["axis"] as number) + dims.length) % dims.length;
  const inner = elementCount(dims.slice(axis + 1));
  const length = dims[axis] as number;
  const values = tensorNumbers(data as Tensor);
  const at = tensorNumbers(indices as Tensor);
  const result = new Float64Array(elementCount(type.shape as readonly number[]));
  const block = at.length * inner;
  for (let n = 0; n < result.length; n++) {
    const index = at[Math.floor((n % block) / inner)] as number;
    const row = Math.floor(n / block) * length + (index < 0 ? index + length : index);
    result[n] = values[row * inner + (n % inner)] as number;
  }
  return result;
};

const concat: Evaluate = (x, attrs, type) => {
  const rank = (type.shape as Shape).length;
  const axis = ((attrs["axis"] as number) + rank) % rank;
  const result = new Float64Array(elementCount(type.shape as readonly number[]));
  const outer = elementCount((type.shape as readonly number[]).slice(0, axis));
  const row = result.length / Math.max(1, outer);
  let start = 0;
  for (const tensor of x) {
    const values = tensorNumbers(tensor);
    const block = values.length / Math.max(1, outer);
    for (let n = 0; n < values.length; n++) result[Math.floor(n / block) * row + start + (n % block)] = values[n] as number;
    start += block;
  }
  return result;
};

const evaluators: Readonly<Record<string, Evaluate>> = {
  ...Object.fromEntries(Object.keys(unaryRules).map((op) => [op, unary])),
  ...Object.fromEntries(Object.keys(binaryRules).map((op) => [op, binary])),
  ...Object.fromEntries(Object.keys(reduceRules).map((op) => [op, reduce])),
  Div: divide,
  Where: (x, _attrs, type) => {
    const dims = type.shape as readonly number[];
    const [condition, a, b] = x.map((tensor) => broadcastTo(tensor, dims)) as [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>];
    return Float64Array.from(condition, (value, i) => (value ? a[i] : b[i]) as number);
  },
  Cast: ([x], _attrs, type) => {
    const values = tensorNumbers(x as Tensor);
    return isFloat(type.dtype) || type.dtype === "bool" ? values : Float64Array.from(values, Math.trunc);
  },
  Expand: ([x], _attrs, type) => broadcastTo(x as Tensor, type.shape as readonly number[]),
  ConstantOfShape: (_x, attrs, type) => {
    const fill = attrs["value"] === undefined ? 0 : (tensorNumbers(attrs["value"] as Tensor)[0] as number);
    return new Float64Array(elementCount(type.shape as readonly number[])).fill(fill);
  },
  Range: ([start, , delta], _attrs, type) => {
    const [from, step] = [tensorNumbers(start as Tensor)[0] as number, tensorNumbers(delta as Tensor)[0] as number];
    return Float64Array.from({ length: (type.shape as readonly number[])[0] as number }, (_, i) => from + i * step);
  },
  Transpose: transpose,
  Slice: slice,
  Gather: gather,
  Concat: concat,
};

/** Operators whose result has the bytes of their first input. */
const views = new Set(["Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"]);

const foldable: ReadonlySet<DataType> = new Set(["float32", "int32", "int64", "bool", "uint8", "int8", "float64", "float16"]);

/** The constant result of a node with constant inputs; `undefined` where folding is not worth it or not possible. */
export function evaluate(op: string, inputs: readonly (Value | undefined)[], attrs: Readonly<Record<string, unknown>>, type: OutputType): Tensor | undefined {
  const first = inputs[0]?.constant;
  // Most nodes end here.
  if (inputs[0] !== undefined && first === undefined) return undefined;
  if (!isStatic(type.shape)) return undefined;
  if (views.has(op) && first !== undefined) return reshapeTensor(first, type.shape);
  const rule = evaluators[op];
  if (rule === undefined || inputs.some((value) => value !== undefined && value.constant === undefined)) return undefined;
  if (!foldable.has(type.dtype) || elementCount(type.shape) > largestFold) return undefined;
  // Arithmetic of float vectors (batch statistics) stays in the graph, exact as a formula: the runtime does it at load.
  const rounds = isFloat(type.dtype) && (op in unaryRules || op in binaryRules || op in reduceRules || op === "Div");
  if (rounds && elementCount(type.shape) > largestFloatFold) return undefined;
  const tensors = inputs.map((value) => value?.constant);
  if (tensors.some((tensor) => tensor !== undefined && (!foldable.has(tensor.dtype) || elementCount(tensor.dims) > largestFold))) return undefined;
  const values = rule(tensors as Tensor[], attrs, type, op);
  return values === undefined ? undefined : tensorOf(type.dtype, type.shape, values);
}
