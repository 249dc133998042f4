/**
 * The typed op builder: one method per operator, constants promoted to their partner's type. Methods, not functions of
 * each instance: there is a builder for every scope, and a scope for every node of a model.
 */

import { type Dim, isStatic } from "../ir/dims.ts";
import { type DataType, dataTypeCode } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { withoutUnits } from "./catalog/reduction.ts";
import { Draft } from "./draft.ts";
import { Emitter } from "./emitter.ts";

/** A value, or a number that takes the type of the value it meets. */
export type Operand = Value | number;

export class OpBuilder extends Emitter {
  private lastScope: { readonly name: string; readonly op: OpBuilder } | undefined;

  /** The same graph, with names below `name/`. */
  scope(name: string): OpBuilder {
    // Nodes without a name share one.
    if (this.lastScope?.name === name) return this.lastScope.op;
    const op = new OpBuilder(this.provider, this.draft, `${this.prefix}${name}/`, this.constants);
    this.lastScope = { name, op };
    return op;
  }

  /** A graph of its own for the body of an `If`, with names below `name/`. */
  subgraph(name: string): OpBuilder {
    return new OpBuilder(this.provider, new Draft(), `${name}/`);
  }

  private pair(a: Operand, b: Operand): [Value, Value] {
    if (typeof a !== "number") return [a, typeof b === "number" ? this.scalar(a.dtype, b) : b];
    if (typeof b === "number") return bug("an operator on two numbers");
    return [this.scalar(b.dtype, a), b];
  }

  private binary(
    op: "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual",
    a: Operand,
    b: Operand,
  ): Value {
    return this.emit(op, this.pair(a, b));
  }

  add(a: Operand, b: Operand): Value {
    return this.binary("Add", a, b);
  }
  sub(a: Operand, b: Operand): Value {
    return this.binary("Sub", a, b);
  }
  mul(a: Operand, b: Operand): Value {
    return this.binary("Mul", a, b);
  }
  div(a: Operand, b: Operand): Value {
    return this.binary("Div", a, b);
  }
  pow(a: Operand, b: Operand): Value {
    return this.binary("Pow", a, b);
  }
  max(a: Operand, b: Operand): Value {
    return this.binary("Max", a, b);
  }
  min(a: Operand, b: Operand): Value {
    return this.binary("Min", a, b);
  }
  equal(a: Operand, b: Operand): Value {
    return this.binary("Equal", a, b);
  }
  greater(a: Operand, b: Operand): Value {
    return this.binary("Greater", a, b);
  }
  greaterOrEqual(a: Operand, b: Operand): Value {
    return this.binary("GreaterOrEqual", a, b);
  }
  less(a: Operand, b: Operand): Value {
    return this.binary("Less", a, b);
  }
  lessOrEqual(a: Operand, b: Operand): Value {
    return this.binary("LessOrEqual", a, b);
  }
  and(a: Value, b: Value): Value {
    return this.emit("And", [a, b]);
  }
  or(a: Value, b: Value): Value {
    return this.emit("Or", [a, b]);
  }
  not(x: Value): Value {
    return this.emit("Not", [x]);
  }
  abs(x: Value): Value {
    return this.emit("Abs", [x]);
  }
  neg(x: Value): Value {
    return this.emit("Neg", [x]);
  }
  exp(x: Value): Value {
    return this.emit("Exp", [x]);
  }
  log(x: Value): Value {
    return this.emit("Log", [x]);
  }
  sqrt(x: Value): Value {
    return this.emit("Sqrt", [x]);
  }
  floor(x: Value): Value {
    return this.emit("Floor", [x]);
  }
  relu(x: Value): Value {
    return this.emit("Relu", [x]);
  }
  sigmoid(x: Value): Value {
    return this.emit("Sigmoid", [x]);
  }
  tanh(x: Value): Value {
    return this.emit("Tanh", [x]);
  }
  reciprocal(x: Value): Value {
    return this.emit("Reciprocal", [x]);
  }
  isNaN(x: Value): Value {
    return this.emit("IsNaN", [x]);
  }

  where(condition: Value, a: Operand, b: Operand): Value {
    const [x, y] = this.pair(a, b);
    return this.emit("Where", [condition, x, y]);
  }

  cast(x: Value, to: DataType): Value {
    return this.emit("Cast", [x], { to: dataTypeCode(to) });
  }

  /** Sum of one or more values. */
  sum(values: readonly Value[]): Value {
    const [first, ...rest] = values;
    return rest.reduce<Value>((a, b) => this.add(a, b), first ?? bug("a sum of nothing"));
  }

  matmul(a: Value, b: Value): Value {
    return this.emit("MatMul", [a, b]);
  }

  /** `shape`: sizes (-1 for the rest) or an int64 vector. */
  reshape(x: Value, shape: readonly number[] | Value): Value {
    if ("dtype" in shape) return this.emit("Reshape", [x, shape], { allowzero: 1 });
    const empty = shape.includes(0) && !shape.includes(-1);
    return this.emit("Reshape", [x, this.ints(shape)], empty ? { allowzero: 1 } : {});
  }

  /** Reshape to the shape of `like`, read at run time where it is dynamic. */
  reshapeLike(x: Value, like: Value): Value {
    return isStatic(like.shape) ? this.reshape(x, like.shape) : this.reshape(x, this.shape(like));
  }

  transpose(x: Value, perm: readonly number[]): Value {
    return this.emit("Transpose", [x], { perm });
  }
  squeeze(x: Value, axes: readonly number[]): Value {
    return this.emit("Squeeze", [x, this.ints(axes)]);
  }
  unsqueeze(x: Value, axes: readonly number[]): Value {
    return this.emit("Unsqueeze", [x, this.ints(axes)]);
  }

  concat(values: readonly Value[], axis: number): Value {
    return this.emit("Concat", values, { axis });
  }

  /** Equal or given parts along an axis. */
  split(x: Value, axis: number, sizes: readonly number[]): readonly Value[] {
    return this.emitAll("Split", [x, this.ints(sizes)], { axis }, { outputs: sizes.length });
  }

  /** x[start:end:step] per axis; `end` beyond the axis means its end. */
  slice(x: Value, ranges: readonly { axis: number; start: number; end?: number; step?: number }[]): Value {
    const ends = ranges.map((range) => range.end ?? ((range.step ?? 1) < 0 ? -(2 ** 63) : 2 ** 63));
    const inputs = [x, this.ints(ranges.map((range) => range.start)), this.ints(ends), this.ints(ranges.map((range) => range.axis))];
    const steps = ranges.map((range) => range.step ?? 1);
    return this.emit("Slice", steps.every((step) => step === 1) ? inputs : [...inputs, this.ints(steps)]);
  }

  gather(x: Value, indices: Value, axis: number): Value {
    return this.emit("Gather", [x, indices], { axis });
  }
  expand(x: Value, shape: Value): Value {
    return this.emit("Expand", [x, shape]);
  }

  /** Repeats `x` to the shape of `like`. */
  expandLike(x: Value, like: Value): Value {
    return this.expand(x, isStatic(like.shape) ? this.ints(like.shape) : this.shape(like));
  }

  /** Zeros (or another number) in the shape and type of `like`. */
  filledLike(like: Value, value: number): Value {
    return this.expandLike(this.scalar(like.dtype, value), like);
  }

  shape(x: Value, start = 0, end?: number): Value {
    return this.emit("Shape", [x], { ...(start === 0 ? {} : { start }), ...(end === undefined ? {} : { end }) });
  }

  /** One size as an int64 vector of one element. */
  dim(x: Value, axis: number): Value {
    const at = axis < 0 && x.shape !== undefined ? axis + x.shape.length : axis;
    return this.shape(x, at, at === -1 ? undefined : at + 1);
  }

  /** Pads `[begin…, end…]` per axis; negative pads cut. */
  pad(x: Value, pads: readonly number[], value?: number, mode?: string): Value {
    const fill = value === undefined || value === 0 ? undefined : this.scalar(x.dtype, value);
    return this.emit("Pad", [x, this.ints(pads), fill], mode === undefined ? {} : { mode });
  }

  private reduce(
    op: "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd" | "ReduceSumSquare",
    x: Value,
    axes: readonly number[] | undefined,
    keepdims: boolean,
  ): Value {
    if (axes?.length === 0) return op === "ReduceSumSquare" ? this.mul(x, x) : x;
    const rest = axes === undefined || op === "ReduceSumSquare" ? undefined : withoutUnits(x.shape, axes);
    if (rest !== undefined) return keepdims ? x : this.reshape(x, rest);
    const inputs = axes === undefined ? [x] : [x, this.ints(axes)];
    return this.emit(op, inputs, { keepdims: keepdims ? 1 : 0 });
  }

  reduceSum(x: Value, axes?: readonly number[], keepdims = false): Value {
    return this.reduce("ReduceSum", x, axes, keepdims);
  }
  reduceMax(x: Value, axes?: readonly number[], keepdims = false): Value {
    return this.reduce("ReduceMax", x, axes, keepdims);
  }
  reduceMin(x: Value, axes?: readonly number[], keepdims = false): Value {
    return this.reduce("ReduceMin", x, axes, keepdims);
  }
  reduceMean(x: Value, axes?: readonly number[], keepdims = false): Value {
    return this.reduce("ReduceMean", x, axes, keepdims);
  }
  reduceSumSquare(x: Value, axes?: readonly number[], keepdims = false): Value {
    return this.reduce("ReduceSumSquare", x, axes, keepdims);
  }

  argMax(x: Value, axis: number, keepdims = false): Value {
    return this.emit("ArgMax", [x], { axis, keepdims: keepdims ? 1 : 0 });
  }

  /** The k largest (or smallest) along an axis, in order, with their positions. */
  topK(x: Value, k: Value, options: { axis: number; largest: boolean; sorted?: boolean }): { values: Value; indices: Value } {
    const attrs = { axis: options.axis, largest: options.largest ? 1 : 0, sorted: options.sorted === false ? 0 : 1 };
    const [values, indices] = this.emitAll("TopK", [x, k], attrs, { outputs: 2 }) as [Value, Value];
    return { values, indices };
  }
}

/** Dimensions of a value of known rank. @throws OhemgenError E131 where it is not known */
export function dimsOf(value: Value): readonly Dim[] {
  if (value.shape !== undefined) return value.shape;
  const hint = "Fix the sizes with --input-shape, or run ONNX shape inference on the model first.";
  throw new OhemgenError(`the number of dimensions of ${value.name} is not known before the graph runs`, { code: "E131", hint });
}
