/** The gradient of all weights, and what is asked of it: its sum of squares, and whether it is finite. */

import { elementCount, isStatic } from "../ir/dims.ts";
import { largestFloat32 } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { conditional } from "../ops/conditional.ts";
import { bug } from "../support/errors.ts";

export interface Gradient {
  /** What makes up the flat vector, in order: vectors. */
  readonly parts: readonly Value[];
  /** float32 scalar */
  readonly squares: Value;
  /** bool scalar: whether every element is */
  readonly finite: Value;
}

const rowWidth = 1024;

/** Vectors as one, float32 `[P]`. */
export function joined(op: OpBuilder, vectors: readonly Value[]): Value {
  return vectors.length === 1 ? (vectors[0] as Value) : op.concat(vectors, 0);
}

/** The gradient that is given as one vector. */
export function gradientVector(op: OpBuilder, vector: Value): Gradient {
  return withFinite(op, [vector], sumOfSquares(op, vector));
}

/** The gradients of all tensors, one after the other. */
export function joinedGradients(op: OpBuilder, tensors: readonly Value[]): Gradient {
  // Flat before a branch captures them: the runtime would turn what a Transpose made once more for it.
  const parts = tensors.map((tensor) => op.reshape(tensor, [-1]));
  // Elsewhere `finite` takes them as one, and the update of one vector is fewer nodes.
  if (op.provider !== "cpu") return gradientVector(op, joined(op, parts));
  // Tensor by tensor nothing is padded: that would be a copy of the whole vector.
  return withFinite(op, parts, sumOfParts(op, tensors));
}

/** The squares of finite numbers may overflow, but where their sum does not, all are finite. */
function withFinite(op: OpBuilder, parts: readonly Value[], squares: Value): Gradient {
  // Elsewhere an If would wait for the device.
  if (op.provider !== "cpu") return { parts, squares, finite: allFinite(op, joined(op, parts)) };
  const bool = [{ dtype: "bool", shape: [] }] as const;
  const [finite] = conditional(
    op,
    op.lessOrEqual(squares, largestFloat32),
    bool,
    { name: "bounded", build: (inner) => [inner.scalar("bool", 1)] },
    { name: "unbounded", build: (inner) => [allFinite(inner, joined(inner, parts))] },
  );
  return { parts, squares, finite: finite ?? bug("If without an output") };
}

/** A long vector as rows, with zeros behind it. */
function asRows(op: OpBuilder, vector: Value): Value {
  return op.reshape(paddedTo(op, vector, rowWidth), [-1, rowWidth]);
}

/** The vector with zeros behind it, up to a multiple of `width`. */
function paddedTo(op: OpBuilder, vector: Value, width: number): Value {
  const length = vector.shape?.[0];
  if (typeof length === "number") return op.pad(vector, [0, Math.ceil(length / width) * width - length]);
  const size = op.dim(vector, 0);
  const missing = op.sub(op.mul(op.div(op.add(size, width - 1), width), width), size);
  return op.emit("Pad", [vector, op.concat([op.ints([0]), missing], 0)]);
}

/** Sum of squares of a long vector, by rows first: one long float32 sum loses 7e-6 of the value. */
export function sumOfSquares(op: OpBuilder, vector: Value): Value {
  const length = vector.shape?.[0];
  if (typeof length === "number" && length <= rowWidth) return op.reduceSumSquare(vector, [0]);
  return op.reduceSum(op.reduceSumSquare(asRows(op, vector), [1]), [0]);
}

/** Elements from which on a tensor is summed by itself. */
const large = 1 << 16;

/** Lengths of rows that one float32 sum is good for, and threads are. */
const isRow = (width: number) => width >= 64 && width <= 1 << 16;

/** The first axis as rows, where they have a good length. */
function ownRows({ shape }: Value): readonly [number, number] | undefined {
  if (!isStatic(shape) || elementCount(shape) < large) return undefined;
  const [count] = shape as readonly [number];
  const width = elementCount(shape) / count;
  return isRow(width) ? [count, width] : undefined;
}

/** Sum of squares of all tensors: large ones by their own rows, the others as one vector. */
function sumOfParts(op: OpBuilder, parts: readonly Value[]): Value {
  const sums: Value[] = [];
  const rest: Value[] = [];
  for (const part of parts) {
    const rows = ownRows(part);
    if (rows === undefined) rest.push(op.reshape(part, [-1]));
    else sums.push(op.reduceSumSquare(op.reshape(part, rows), [1]));
  }
  if (rest.length > 0) sums.push(op.reshape(sumOfSquares(op, op.concat(rest, 0)), [1]));
  return op.reduceSum(op.concat(sums, 0), [0]);
}

/**
 * Whether every element of a float vector is finite: 0·x summed by rows is 0, or NaN where one is not. One product reads
 * the vector once, where comparisons pass over it five times.
 */
export function allFinite(op: OpBuilder, vector: Value): Value {
  // A node, also where it could be a constant: folded, it would be the largest tensor of the file.
  const sizes = op.ints([rowWidth, 1]);
  const zeros = op.append("Expand", "", [op.scalar("float32", 0), sizes], {}, [{ dtype: "float32", shape: [rowWidth, 1] }]).outputs[0];
  return elementsFinite(op, op.matmul(asRows(op, vector), zeros ?? bug("Expand without an output")));
}

/** The same of any float tensor, element by element: a sum could overflow. */
export function elementsFinite(op: OpBuilder, value: Value): Value {
  // Comparisons are false for NaN and run on every provider. No Abs: OpenVINO makes it in place, even where `value` is an output too.
  const bounded = op.cast(op.and(op.lessOrEqual(value, largestFloat32), op.greaterOrEqual(value, -largestFloat32)), "float32");
  return op.greater(op.reduceMin(bounded), 0.5);
}
