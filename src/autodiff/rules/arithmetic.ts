/** Elementwise arithmetic, powers, exponentials and trigonometry. */

import type { Value } from "../../ir/graph.ts";
import { tensorNumbers } from "../../ir/tensor.ts";
import type { OpBuilder } from "../../ops/builder.ts";
import { defineGradients, nonDifferentiable } from "../registry.ts";
import { signOf } from "./sign.ts";
import { shareAmongTies } from "./ties.ts";

/** b·a^(b-1), and 0 where b is 0 also at a = 0, where a^(-1) is not finite. */
function powerSlope(op: OpBuilder, a: Value, exponent: Value): Value {
  const never0 = exponent.constant !== undefined && !Array.from(tensorNumbers(exponent.constant)).includes(0);
  if (never0) return op.mul(exponent, op.pow(a, op.sub(exponent, 1)));
  const flat = op.equal(exponent, 0);
  return op.where(flat, 0, op.mul(exponent, op.pow(a, op.where(flat, 1, op.sub(exponent, 1)))));
}

/** a/b without its fraction. */
function truncatedQuotient(op: OpBuilder, a: Value, b: Value): Value {
  const quotient = op.div(a, b);
  return op.mul(signOf(op, quotient), op.floor(op.abs(quotient)));
}

export const arithmetic = defineGradients({
  Identity: ({ dy }) => [dy],
  Add: ({ dy }) => [dy, dy],
  Sub: ({ op, dy }) => [dy, op.neg(dy)],
  Mul: ({ op, x: [a, b], dy }) => [op.mul(dy, b), op.mul(dy, a)],
  // y = a/b, so dy/db = -y/b.
  Div({ op, x: [, b], y: [y], dy }) {
    const da = op.div(dy, b);
    return [da, op.neg(op.mul(da, y))];
  },
  Neg: ({ op, dy }) => [op.neg(dy)],
  Sum: ({ node, dy }) => node.inputs.map(() => dy),
  Mean({ op, node, dy }) {
    const part = op.div(dy, node.inputs.length);
    return node.inputs.map(() => part);
  },
  Max: (context) => shareAmongTies(context),
  Min: (context) => shareAmongTies(context),
  // d a^b = b·a^(b-1) da + a^b·ln a db; at a = 0 the second term is 0, as in PyTorch.
  Pow({ op, x: [a, b], y: [y], dy, needs }) {
    const exponent = b.dtype === a.dtype ? b : op.cast(b, a.dtype);
    const da = op.mul(dy, powerSlope(op, a, exponent));
    if (!needs(1)) return [da];
    const positive = op.greater(a, 0);
    const logarithm = op.where(positive, op.log(op.where(positive, a, 1)), 0);
    return [da, op.mul(dy, op.mul(y, logarithm))];
  },
  // The subgradient at 0 is 0, as in PyTorch.
  Abs: ({ op, x: [x], dy }) => [op.mul(dy, signOf(op, x))],
  Sqrt: ({ op, y: [y], dy }) => [op.div(op.mul(dy, 0.5), y)],
  Exp: ({ op, y: [y], dy }) => [op.mul(dy, y)],
  Log: ({ op, x: [x], dy }) => [op.div(dy, x)],
  Reciprocal: ({ op, y: [y], dy }) => [op.neg(op.mul(dy, op.mul(y, y)))],
  // d erf(x) = 2/√π · e^(-x²)
  Erf: ({ op, x: [x], dy }) => [op.mul(dy, op.mul(op.exp(op.neg(op.mul(x, x))), 2 / Math.sqrt(Math.PI)))],
  Sin: ({ op, x: [x], dy }) => [op.mul(dy, op.emit("Cos", [x]))],
  Cos: ({ op, x: [x], dy }) => [op.neg(op.mul(dy, op.emit("Sin", [x])))],
  Tan: ({ op, y: [y], dy }) => [op.mul(dy, op.add(op.mul(y, y), 1))],
  Asin: ({ op, x: [x], dy }) => [op.div(dy, op.sqrt(op.sub(1, op.mul(x, x))))],
  Acos: ({ op, x: [x], dy }) => [op.neg(op.div(dy, op.sqrt(op.sub(1, op.mul(x, x)))))],
  // sinh and cosh from exponentials: providers besides the CPU have no kernels for them.
  Sinh: ({ op, x: [x], dy }) => [op.mul(dy, op.mul(op.add(op.exp(x), op.exp(op.neg(x))), 0.5))],
  Cosh: ({ op, x: [x], dy }) => [op.mul(dy, op.mul(op.sub(op.exp(x), op.exp(op.neg(x))), 0.5))],
  Asinh: ({ op, x: [x], dy }) => [op.div(dy, op.sqrt(op.add(op.mul(x, x), 1)))],
  Acosh: ({ op, x: [x], dy }) => [op.div(dy, op.sqrt(op.sub(op.mul(x, x), 1)))],
  Atanh: ({ op, x: [x], dy }) => [op.div(dy, op.sub(1, op.mul(x, x)))],
  // fmod: y = a - b·trunc(a/b), piecewise.
  Mod: ({ op, x: [a, b], dy, needs }) => [dy, needs(1) ? op.neg(op.mul(dy, truncatedQuotient(op, a, b))) : undefined],
  Atan: ({ op, x: [x], dy }) => [op.div(dy, op.add(op.mul(x, x), 1))],
  Where: ({ op, x: [condition], dy }) => [undefined, op.where(condition, dy, 0), op.where(condition, 0, dy)],
  Cast: ({ op, x: [x], dy }) => [op.cast(dy, x.dtype)],
  Ceil: nonDifferentiable,
  Floor: nonDifferentiable,
  Round: nonDifferentiable,
  Sign: nonDifferentiable,
  IsInf: nonDifferentiable,
  IsNaN: nonDifferentiable,
  Equal: nonDifferentiable,
  Greater: nonDifferentiable,
  GreaterOrEqual: nonDifferentiable,
  Less: nonDifferentiable,
  LessOrEqual: nonDifferentiable,
  And: nonDifferentiable,
  Or: nonDifferentiable,
  Xor: nonDifferentiable,
  Not: nonDifferentiable,
  Size: nonDifferentiable,
  BitShift: nonDifferentiable,
  BitwiseAnd: nonDifferentiable,
  BitwiseNot: nonDifferentiable,
  BitwiseOr: nonDifferentiable,
  BitwiseXor: nonDifferentiable,
});
