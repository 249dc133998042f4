/** Elementwise functions that opset 18 lacks, or that GPU providers have no kernel for, as their formula. */

import { isFloat } from "../../ir/dtype.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type Converter, defineConverters } from "./registry.ts";

/** GELU: x·½·(1 + erf(x/√2)), or its tanh form. */
const gelu: Converter = ({ op, input, string }) => {
  const x = input(0);
  if (string("approximate", "none") === "tanh") {
    const inner = op.mul(op.add(x, op.mul(op.mul(op.mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return [op.mul(op.mul(x, 0.5), op.add(op.tanh(inner), 1))];
  }
  return [op.mul(op.mul(x, 0.5), op.add(op.emit("Erf", [op.mul(x, Math.SQRT1_2)]), 1))];
};

/** (e^x + e^-x)/2 */
const cosh = (op: OpBuilder, x: Value) => op.mul(op.add(op.exp(x), op.exp(op.neg(x))), 0.5);

/** ln(|x| + √(x² + 1)) with the sign of x. */
function asinh(op: OpBuilder, x: Value): Value {
  const size = op.log(op.add(op.abs(x), op.sqrt(op.add(op.mul(x, x), 1))));
  return op.where(op.less(x, 0), op.neg(size), size);
}

/** Elements of the last two axes, as tensors without them. */
const entry = (op: OpBuilder, x: Value, rank: number, row: number, column: number): Value =>
  op.squeeze(
    op.slice(x, [
      { axis: rank - 2, start: row, end: row + 1 },
      { axis: rank - 1, start: column, end: column + 1 },
    ]),
    [rank - 2, rank - 1],
  );

/** Sarrus' rule up to 3×3. */
const determinant: Converter = ({ op, node, input }) => {
  const x = input(0);
  const rank = dimsOf(x).length;
  const size = dimsOf(x).at(-1);
  const at = (row: number, column: number) => entry(op, x, rank, row, column);
  const minor = (rows: readonly [number, number], columns: readonly [number, number]) =>
    op.sub(op.mul(at(rows[0], columns[0]), at(rows[1], columns[1])), op.mul(at(rows[0], columns[1]), at(rows[1], columns[0])));
  if (size === 1) return [at(0, 0)];
  if (size === 2) return [minor([0, 1], [0, 1])];
  if (size !== 3) throw new OhemgenError("Det of matrices other than up to 3×3", { code: "E202", where: node.name, hint: "Freeze the weights before it." });
  const first = op.mul(at(0, 0), minor([1, 2], [1, 2]));
  const second = op.mul(at(0, 1), minor([1, 2], [0, 2]));
  const third = op.mul(at(0, 2), minor([1, 2], [0, 1]));
  return [op.add(op.sub(first, second), third)];
};

/** Products of the elements before each, as a product over a masked square: exact also where elements are 0. */
const cumulativeProduct: Converter = ({ op, input, int }) => {
  const x = input(0);
  const at = op.reshape(op.cast(input(1), "int64"), [1]);
  const axis = op.where(op.less(at, 0), op.add(at, op.ints([dimsOf(x).length])), at);
  const shape = op.shape(x);
  const product = (from: Value, to: Value) => op.emit("ReduceProd", [op.emit("Slice", [shape, from, to, op.ints([0])]), op.ints([0])], { keepdims: 1 });
  const length = op.gather(shape, axis, 0);
  const sides = [product(op.ints([0]), axis), product(op.add(axis, 1), op.ints([dimsOf(x).length]))] as const;
  const rows = op.reshape(x, op.concat([sides[0], op.ints([1]), length, sides[1]], 0));
  const steps = op.emit("Range", [op.scalar("int64", 0), op.squeeze(length, [0]), op.scalar("int64", 1)]);
  const [to, from] = [op.unsqueeze(steps, [1, 2]), op.unsqueeze(steps, [1])];
  const [late, early] = int("reverse", 0) === 0 ? [to, from] : [from, to];
  const taken = int("exclusive", 0) === 0 ? op.greaterOrEqual(late, early) : op.greater(late, early);
  const made = op.emit("ReduceProd", [op.where(taken, rows, 1), op.ints([2])], { keepdims: 0 });
  return [op.reshapeLike(made, x)];
};

/** Mod of floats with the sign of the divisor, which the runtime does not have: the rest, and the divisor where signs differ. */
const modulo: Converter = ({ op, input, int, same }) => {
  const [a, b] = [input(0), input(1)];
  if (!isFloat(a.dtype) || int("fmod", 0) !== 0) return same();
  // Not a - b·⌊a/b⌋, which is no number for an infinite divisor and inexact for a large quotient.
  const [rest] = op.emitAll("Mod", [a, b], { fmod: 1 });
  const remainder = rest as Value;
  const opposite = op.less(op.mul(op.emit("Sign", [remainder]), op.emit("Sign", [b])), 0);
  return [op.where(opposite, op.add(remainder, b), remainder)];
};

export const functions = defineConverters({
  Gelu: gelu,
  Swish: ({ op, input, float }) => [op.mul(input(0), op.sigmoid(op.mul(input(0), float("alpha", 1))))],
  SwiGLU: ({ op, input, float }) => [op.mul(op.mul(input(0), op.sigmoid(op.mul(input(0), float("alpha", 1)))), input(1))],
  CumProd: cumulativeProduct,
  Mod: modulo,
  // Not every pair of types has a kernel: the exponent takes the type of the base.
  Pow: ({ op, input, same }) => (isFloat(input(0).dtype) ? [op.pow(input(0), op.cast(input(1), input(0).dtype))] : same()),
  Tan: ({ op, input }) => [op.div(op.emit("Sin", [input(0)]), op.emit("Cos", [input(0)]))],
  Cosh: ({ op, input }) => [cosh(op, input(0))],
  // tanh·cosh keeps the digits that (e^x - e^-x)/2 loses near 0.
  Sinh: ({ op, input }) => [op.mul(op.tanh(input(0)), cosh(op, input(0)))],
  Asinh: ({ op, input }) => [asinh(op, input(0))],
  Acosh: ({ op, input }) => [op.log(op.add(input(0), op.sqrt(op.sub(op.mul(input(0), input(0)), 1))))],
  Atanh: ({ op, input }) => [op.mul(op.log(op.div(op.add(input(0), 1), op.sub(1, input(0)))), 0.5)],
  Det: determinant,
});
