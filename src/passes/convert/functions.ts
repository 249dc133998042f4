/** Elementwise functions that opset 18 lacks, or that GPU providers have no kernel for, as their formula. */

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

export const functions = defineConverters({
  Gelu: gelu,
  Swish: ({ op, input, float }) => [op.mul(input(0), op.sigmoid(op.mul(input(0), float("alpha", 1))))],
  Tan: ({ op, input }) => [op.div(op.emit("Sin", [input(0)]), op.emit("Cos", [input(0)]))],
  Cosh: ({ op, input }) => [cosh(op, input(0))],
  // tanh·cosh keeps the digits that (e^x - e^-x)/2 loses near 0.
  Sinh: ({ op, input }) => [op.mul(op.tanh(input(0)), cosh(op, input(0)))],
  Asinh: ({ op, input }) => [asinh(op, input(0))],
  Acosh: ({ op, input }) => [op.log(op.add(input(0), op.sqrt(op.sub(op.mul(input(0), input(0)), 1))))],
  Atanh: ({ op, input }) => [op.mul(op.log(op.div(op.add(input(0), 1), op.sub(1, input(0)))), 0.5)],
  Det: determinant,
});
